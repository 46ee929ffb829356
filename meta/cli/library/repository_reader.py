"""A model or an agent reads a repository and proposes the fields of its task that no flag gives, each with its line.

A proposal counts as little as a guess: `task init` runs what it says, and `task check` judges the rest."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import ExitStack

from pydantic import BaseModel, Field, ValidationError

from inner_loop.agents.launch import AgentLaunch
from inner_loop.agents.worktree import temporary
from inner_loop.models.contract import ChatModel, Message
from inner_loop.run_context import RunContext
from meta.mutators.llm.templates import render
from programs.errors import EnvironmentProblem
from programs.text import one_line
from trainer.commands.init import copied
from trainer.commands.repository import OwnRepository
from trainer.sandbox.login_keys import is_key

FIELDS = ("command", "metric", "direction", "editable", "seed", "budget")
PURPOSE = "repository"
REPAIRS = 1
AGENT_SECONDS = 300.0
MOST_BYTES, _FILE_BYTES = 80_000, 12_000
_MOST_CHARACTERS = 200_000
_QUOTED = 80  # characters of a line that is shown


class FieldProposal(BaseModel, extra="forbid", strict=True):
    """One field as the model reads it, and the line that it names for it."""

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


class _RepositoryAnswer(BaseModel, extra="forbid", strict=True):
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
            why = _fault(error)
            complaint = f"Your reply was rejected: {why}\n\nSend the whole reply again, as one JSON object."
            messages = [*messages[:2], Message("assistant", reply.text), Message("user", complaint)]
    raise EnvironmentProblem(
        f"no reply of {reply.model} was readable; the last one: {why}", hint="try another --model, or give the flags"
    )


def ask_agent(name: str, source: OwnRepository, context: RunContext) -> Sequence[FieldProposal]:
    """What a coding agent reads, started once with a prompt in a copy of the repository without login keys. Raises
    EnvironmentProblem if it fails, or if its output does not end with an answer."""
    launch = AgentLaunch(name, context)
    with ExitStack() as stack:
        worktree = copied(source, temporary(stack) / "repository")
        for file in source.files:
            if is_key(file, (worktree / file).read_bytes()):
                (worktree / file).unlink()
        launch.open_gateway(stack)
        ended = launch.run(launch.runner(worktree, AGENT_SECONDS), render("repository.agent.md.j2"))
    if problem := launch.failure(ended):
        raise problem
    try:
        return parsed(ended.stdout.decode("utf-8", "replace"))
    except ValidationError as error:
        message = f"the output of {launch.command} does not end with an answer in the required form: {_fault(error)}"
        raise EnvironmentProblem(message, hint="repeat the command, or give the flags") from None


def parsed(text: str) -> Sequence[FieldProposal]:
    """The proposals of a reply: its last JSON object counts. ValidationError."""
    answer = _RepositoryAnswer.model_validate_json(_last_object(text[-_MOST_CHARACTERS:]))
    return list({one.field: one for one in reversed(answer.fields)}.values())[::-1]


def _last_object(text: str) -> str:
    last, end = text, 0
    while (at := text.find("{", end)) >= 0:
        try:
            end = json.JSONDecoder().raw_decode(text, at)[1]
            last = text[at:end]
        except (ValueError, RecursionError):
            end = at + 1
    return last


def _fault(error: ValidationError) -> str:
    """The first fault of a reply."""
    first = error.errors(include_url=False, include_context=False)[0]
    return one_line(f"{'.'.join(str(part) for part in first['loc']) or 'the whole'}: {first['msg']}")[:120]
