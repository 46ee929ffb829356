"""Parses a model's reply about a program's charter: strict JSON; anything else is rejected."""

from __future__ import annotations

import json
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError

from programs.charter_read import CharterClaim
from programs.text import one_line

_MOST_CHARACTERS = 200_000
_MOST_WRONG = 120  # characters of an error message
Form = TypeVar("Form", bound=BaseModel)


class BadCharterReply(Exception):
    """The reply does not have the required form; the message is one line and says why."""


class _ReplyPart(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _Evidence(_ReplyPart):
    sentence: int
    quote: str


class _Field(_ReplyPart):
    field: str
    value: Any
    evidence: list[_Evidence]


class _CharterAnswer(_ReplyPart):
    fields: list[_Field]
    not_expressible: list[int]


def read_reply(text: str, form: type[Form]) -> Form:
    """The JSON object of a reply in its required form. Raises BadCharterReply."""
    try:
        return form.model_validate(json_of(text))
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        path = ".".join(str(part) for part in first["loc"]) or "the whole"
        raise BadCharterReply(one_line(f"{path}: {first['msg']}")[:_MOST_WRONG]) from None


def parse(text: str) -> tuple[list[CharterClaim], list[int]]:
    """The claims of a reply, and the numbers of the sentences that no field can express. Raises BadCharterReply."""
    answer = read_reply(text, _CharterAnswer)
    claims = [CharterClaim(f.field, f.value, tuple((e.sentence, e.quote) for e in f.evidence)) for f in answer.fields]
    return claims, answer.not_expressible


def json_of(text: str) -> Any:
    """The reply's JSON object; a code fence around all of it is ignored."""
    text = text.strip()
    if text.startswith("```") and text.endswith("```") and "\n" in text:
        text = text[text.index("\n") : -3]
    if len(text) > _MOST_CHARACTERS:
        raise BadCharterReply(f"it is longer than {_MOST_CHARACTERS:,} characters")
    try:
        return json.loads(text, parse_constant=_no_number, object_pairs_hook=_no_key_twice)
    except json.JSONDecodeError as error:
        raise BadCharterReply(f"it is not JSON: {error.msg}, line {error.lineno} column {error.colno}") from None
    except (ValueError, RecursionError) as error:  # numbers of 5,000 digits, absurd nesting
        raise BadCharterReply(f"it is not readable JSON: {one_line(str(error))[:_MOST_WRONG]}") from None


def _no_number(name: str) -> Any:
    raise BadCharterReply(f"it is not JSON: {name} is not a number")


def _no_key_twice(pairs: list[tuple[str, JsonValue]]) -> dict[str, JsonValue]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise BadCharterReply("it has a key twice in one object")
    return members
