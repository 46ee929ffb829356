"""A model reads a foreign repository and proposes the fields of its task, each with the line that says so. Words are
checked here: a proposal whose line does not say it is refused. `task check` then runs what was accepted."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError

from inner_loop.models.contract import ChatModel, Message
from meta.mutators.llm.prompts import render
from programs.errors import EnvironmentProblem
from programs.text import one_line
from trainer.foreign import budget
from trainer.foreign.facts import missing
from trainer.foreign.init import Draft, Wanted, draft
from trainer.foreign.repository import ForeignRepository

FIELDS = ("command", "metric", "direction", "editable", "budget")
PURPOSE = "repository"
REPAIRS = 1
MOST_BYTES = 80_000
_FILE_BYTES = 12_000
_MOST_CHARACTERS = 200_000
_MOST_WRONG = 120  # characters of an error message
_DIRECTION = {
    "lower": re.compile(r"\b(?:low|lower|lowest|less|least|minimi[sz]\w*|small\w*|reduc\w*|decreas\w*|fast)\b", re.I),
    "higher": re.compile(r"\b(?:high|higher|highest|more|most|maximi[sz]\w*|larg\w*|increas\w*|great\w*|best)\b", re.I),
}


class BadReply(Exception):
    """The reply does not have the required form; the message is one line and says why."""


class _Proposal(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    field: str
    value: str | list[str]
    file: str
    line: int


class _RepositoryAnswer(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    fields: list[_Proposal]


@dataclass(frozen=True)
class Proposed:
    """One field as the model reads it; ``where``: the line that it names. ``refused``: why it is not taken."""

    field: str
    value: str
    where: str
    refused: str = ""


def prompt(source: ForeignRepository) -> list[Message]:
    """The repository's instructions and code with numbered lines, as far as they fit."""
    shown, left = [], MOST_BYTES
    for name in [*source.prose, *source.code]:
        numbered = "\n".join(f"{line.number}: {line.text}" for line in source.lines(name))[: min(left, _FILE_BYTES)]
        if numbered and left > 0:
            shown.append((name, numbered))
            left -= len(numbered.encode("utf-8", "replace"))
    names = "\n".join(source.files)[:_FILE_BYTES]
    return [
        Message("system", render("repository.system.md.j2")),
        Message("user", render("repository.user.md.j2", names=names, files=shown)),
    ]


def ask(model: ChatModel, source: ForeignRepository, *, max_tokens: int) -> list[Proposed]:
    """What the model reads, each field at most once. Raises NoReply, and EnvironmentProblem for unreadable replies."""
    messages, why = prompt(source), ""
    for left in range(REPAIRS, -1, -1):
        reply = model.complete(messages, max_tokens=max_tokens, purpose=PURPOSE if left == REPAIRS else "repair")
        try:
            return judged(source, parsed(reply.text))
        except BadReply as bad:
            why = str(bad)
            complaint = f"Your reply was rejected: {why}\n\nSend the whole reply again, as one JSON object."
            messages = [*messages[:2], Message("assistant", reply.text), Message("user", complaint)]
    raise EnvironmentProblem(
        f"no reply of {reply.model} was readable; the last one: {why}", hint="try another --model, or give the flags"
    )


def parsed(text: str) -> list[_Proposal]:
    """The proposals of a reply in its required form. Raises BadReply."""
    try:
        return _RepositoryAnswer.model_validate(_json_of(text)).fields
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        path = ".".join(str(part) for part in first["loc"]) or "the whole"
        raise BadReply(one_line(f"{path}: {first['msg']}")[:_MOST_WRONG]) from None


def _json_of(text: str) -> Any:
    """The reply's JSON object; a code fence around all of it is ignored."""
    text = text.strip()
    if text.startswith("```") and text.endswith("```") and "\n" in text:
        text = text[text.index("\n") : -3]
    if len(text) > _MOST_CHARACTERS:
        raise BadReply(f"it is longer than {_MOST_CHARACTERS:,} characters")
    try:
        return json.loads(text, parse_constant=_no_number, object_pairs_hook=_no_key_twice)
    except json.JSONDecodeError as error:
        raise BadReply(f"it is not JSON: {error.msg}, line {error.lineno} column {error.colno}") from None
    except (ValueError, RecursionError) as error:  # numbers of 5,000 digits, absurd nesting
        raise BadReply(f"it is not readable JSON: {one_line(str(error))[:_MOST_WRONG]}") from None


def _no_number(name: str) -> Any:
    raise BadReply(f"it is not JSON: {name} is not a number")


def _no_key_twice(pairs: list[tuple[str, JsonValue]]) -> dict[str, JsonValue]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise BadReply("it has a key twice in one object")
    return members


def judged(source: ForeignRepository, proposals: Sequence[_Proposal]) -> list[Proposed]:
    """Each proposal, checked by the words of the line that it names."""
    by_field: dict[str, Proposed] = {}
    for one in proposals:
        value = one.value if isinstance(one.value, str) else " ".join(one.value)
        where = f"{one.file}:{one.line}"
        if one.field in FIELDS and one.field not in by_field and value.strip():
            by_field[one.field] = Proposed(one.field, value.strip(), where, refusal(source, one, value))
    return list(by_field.values())


def refusal(source: ForeignRepository, one: _Proposal, value: str) -> str:
    """Why the named line does not say what is proposed; empty if it does."""
    lines = {line.number: line.text for line in source.lines(one.file)} if one.file in source.files else {}
    text = lines.get(one.line)
    if text is None:
        return "there is no such line"
    if one.field == "direction":
        if value not in _DIRECTION:
            return "neither lower nor higher"
        return "" if _DIRECTION[value].search(text) else "the line does not say so"
    if one.field == "editable":
        absent = [name for name in value.replace(",", " ").split() if name not in source.files]
        if absent:
            return f"there is no file {absent[0]}"
        said = all(re.search(rf"(?<![\w/.-]){re.escape(name)}(?![\w/-])", text) for name in value.split())
        return "" if said else "the line does not name them"
    if one.field == "budget":
        try:
            return "" if budget.says(text, budget.seconds_of(value)) else "the line does not say so"
        except ValueError:
            return "this is no time"
    if one.field == "metric":
        return "" if re.search(rf"(?<!\w){re.escape(value)}(?!\w)", text) else "the line does not name it"
    words = [word for word in re.findall(r"[\w./-]{2,}", value) if not word.startswith("-")]
    return "" if words and all(word in text for word in words) else "the line does not hold the command"


def merged(folder: Path, drafted: Draft, wanted: Wanted, proposed: Sequence[Proposed], by: str) -> tuple[Draft, Wanted]:
    """(the draft with the proposals for its open fields; what is wanted then). A field that both found, but
    differently, is open again, unless a flag gave it."""
    lacking = {fact.field for fact in drafted.lacking}
    known = {fact.field: fact for fact in drafted.facts if fact.field in FIELDS and fact.field not in lacking}
    unclear = {}
    for one in proposed:
        if one.refused:
            continue
        if one.field not in known or known[one.field].where == "assumed":
            origins = {**wanted.origins, one.field: f"{one.where}, read by {by}"}
            wanted = replace(wanted.answered(one.field, one.value), origins=origins)
        elif known[one.field].where != "given" and _plain(one.field, one.value) != _plain(
            one.field, known[one.field].value
        ):
            said = f"{_plain(one.field, known[one.field].value)!r} ({known[one.field].where})"
            note = f"{said} or, as a model reads it, {one.value!r} ({one.where})"
            unclear[one.field] = missing(one.field, known[one.field].flag, note)
    drafted = draft(folder, wanted)
    return replace(drafted, facts=tuple(unclear.get(fact.field, fact) for fact in drafted.facts)), wanted


def _plain(field: str, value: str | float | list[str]) -> str:
    """A value without the options that set seed and budget; a time in seconds."""
    if field == "budget":
        return f"{value if isinstance(value, float) else budget.seconds_of(str(value)):g} s"
    text = " ".join(value) if isinstance(value, list) else str(value)
    if field == "editable":
        return " ".join(sorted(text.replace(",", " ").split()))
    return " ".join(re.sub(r"\s+--?[\w-]+[= ]\{\w+\}", "", text).split())
