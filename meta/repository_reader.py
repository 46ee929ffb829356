"""A model reads a repository and proposes the fields of its task that no flag gives, each with the line that it rests
on. A proposal counts as little as a guess: `task init` runs what it says, and `task check` judges the rest."""

from __future__ import annotations

import re
from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from inner_loop.models.contract import ChatModel, Message
from meta.mutators.llm.prompts import render
from programs.errors import EnvironmentProblem
from programs.text import one_line
from trainer.commands.repository import OwnRepository

FIELDS = ("command", "metric", "direction", "editable")
PURPOSE = "repository"
REPAIRS = 1
MOST_BYTES, _FILE_BYTES = 80_000, 12_000
_MOST_CHARACTERS = 200_000
_QUOTED = 80  # characters of a line that is shown


class FieldProposal(BaseModel):
    """One field as the model reads it, and the line that it names for it."""

    model_config = ConfigDict(extra="forbid", strict=True)

    field: str = Field(pattern=f"^(?:{'|'.join(FIELDS)})$")
    value: str | list[str] = Field(min_length=1)
    file: str
    line: int

    @property
    def words(self) -> str:
        return self.value if isinstance(self.value, str) else " ".join(self.value)

    def quoted(self, source: OwnRepository) -> str:
        """The line; empty if the repository has none there."""
        lines = source.text(self.file).splitlines() if self.file in source.files else []
        return one_line(lines[self.line - 1])[:_QUOTED] if 0 < self.line <= len(lines) else "no such line"


class _RepositoryAnswer(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    fields: list[FieldProposal]


def prompt(source: OwnRepository) -> list[Message]:
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


def ask(model: ChatModel, source: OwnRepository, *, max_tokens: int) -> Sequence[FieldProposal]:
    """What the model reads, each field at most once. Raises NoReply, and EnvironmentProblem for unreadable replies."""
    messages, why = prompt(source), ""
    for left in range(REPAIRS, -1, -1):
        reply = model.complete(messages, max_tokens=max_tokens, purpose=PURPOSE if left == REPAIRS else "repair")
        try:
            return parsed(reply.text)
        except ValidationError as error:
            first = error.errors(include_url=False, include_context=False)[0]
            why = one_line(f"{'.'.join(str(part) for part in first['loc']) or 'the whole'}: {first['msg']}")[:120]
            complaint = f"Your reply was rejected: {why}\n\nSend the whole reply again, as one JSON object."
            messages = [*messages[:2], Message("assistant", reply.text), Message("user", complaint)]
    raise EnvironmentProblem(
        f"no reply of {reply.model} was readable; the last one: {why}", hint="try another --model, or give the flags"
    )


def parsed(text: str) -> Sequence[FieldProposal]:
    """The proposals of a reply in its required form; a code fence around all of it is ignored. ValidationError."""
    fenced = re.fullmatch(r"```\w*\n(.*)```", text.strip()[:_MOST_CHARACTERS], re.DOTALL)
    answer = _RepositoryAnswer.model_validate_json(fenced[1] if fenced else text[:_MOST_CHARACTERS])
    return list({one.field: one for one in reversed(answer.fields)}.values())[::-1]
