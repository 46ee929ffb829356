"""What a model answers that reads a program's charter: strict JSON. Whatever else it says goes nowhere."""

from __future__ import annotations

import json
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from programs.charter_read import Claim
from programs.text import one_line

_MOST_CHARACTERS = 200_000
_MOST_WRONG = 120  # characters told of what is wrong


class BadCharterReply(Exception):
    """The reply has not the form that was asked for; the message is one line and says why."""


class _ReplyPart(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _Evidence(_ReplyPart):
    sentence: int
    quote: str


class _Field(_ReplyPart):
    field: str
    value: Any
    evidence: list[_Evidence]


class _Answer(_ReplyPart):
    fields: list[_Field]
    not_expressible: list[int]


def parse(text: str) -> tuple[list[Claim], list[int]]:
    """The claims of a reply, and the numbers of the sentences that no field can carry. Raises BadReply."""
    try:
        answer = _Answer.model_validate(_json(text))
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        path = ".".join(str(part) for part in first["loc"]) or "the whole"
        raise BadCharterReply(one_line(f"{path}: {first['msg']}")[:_MOST_WRONG]) from None
    claims = [Claim(f.field, f.value, tuple((e.sentence, e.quote) for e in f.evidence)) for f in answer.fields]
    return claims, answer.not_expressible


def _json(text: str) -> Any:
    """The object that the reply is; a code fence around the whole of it is passed over."""
    text = text.strip()
    if text.startswith("```") and text.endswith("```") and "\n" in text:
        text = text[text.index("\n") : -3]
    if len(text) > _MOST_CHARACTERS:
        raise BadCharterReply(f"it is longer than {_MOST_CHARACTERS:,} characters")
    try:
        return json.loads(text, parse_constant=_no_number, object_pairs_hook=_no_key_twice)
    except json.JSONDecodeError as error:
        raise BadCharterReply(f"it is no JSON: {error.msg}, line {error.lineno} column {error.colno}") from None
    except (ValueError, RecursionError) as error:  # numbers of 5,000 digits, absurd nesting
        raise BadCharterReply(f"it is no JSON that can be read: {one_line(str(error))[:_MOST_WRONG]}") from None


def _no_number(name: str) -> Any:
    raise BadCharterReply(f"it is no JSON: {name} is no number")


def _no_key_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise BadCharterReply("it names a key twice in one object")
    return members
