"""One turn of a chat researcher: the call, its repairs, and what becomes of the reply once its turn has come."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from inner_loop.models.client import ModelClient
from inner_loop.models.contract import Message
from inner_loop.record import Record
from inner_loop.researchers import briefing
from inner_loop.researchers.edits_text import BadEdit, EditReply, parse
from inner_loop.researchers.merge import merge
from programs.roles import Role
from trainer.experiment import SOURCE_BYTES
from trainer.source import Source

REPAIRS = 2  # times that an unusable reply is answered with the error
Fate = Literal["pass", "conflict", "in-effect", "repeated", "unusable"]


@dataclass(frozen=True)
class Turn:
    """The input of one turn. ``tried``: ids of sources that it must not return to."""

    number: int
    role: Role
    parent: Record
    messages: tuple[Message, ...]
    tried: frozenset[str]


@dataclass(frozen=True)
class TurnResult:
    """The result of a turn: an edited source of its parent, a pass, or the last error."""

    turn: Turn
    answer: EditReply | None
    source: Source | None
    error: str = ""

    def on(self, kept: Source, tried: frozenset[str]) -> Source | Untried:
        """Its edit on the source that is kept now, together with all that was kept since the call."""
        if self.answer is None:
            return Untried("unusable", self.error)
        if self.source is None:
            return Untried("pass", self.answer.passed)
        if self.turn.parent.source == kept:
            merged = self.source
        else:
            result = merge(self.turn.parent.source, kept, self.source)
            if result.source is None:
                return Untried("conflict", result.conflict)
            merged = result.source
        if merged == kept:
            return Untried("in-effect", "the kept source has this change already")
        if sum(len(text.encode()) for _, text in merged.files) > SOURCE_BYTES:
            return Untried("conflict", f"with what was kept, the source would exceed {SOURCE_BYTES} bytes")
        if merged.source_id in tried:
            return Untried("repeated", "this source was tried before")
        return merged


@dataclass(frozen=True)
class Untried:
    """Why a turn led to no experiment."""

    fate: Fate
    reason: str

    def sentence(self, role: str, title: str) -> str:
        """For the list of results."""
        what = f"{title!r} by {role}" if title else f"a turn of {role}"
        return {
            "pass": f"{role} passed: {self.reason}",
            "conflict": f"{what} was not tried, because it conflicts with what was kept meanwhile ({self.reason})",
            "in-effect": f"{what} was not tried: {self.reason}",
            "repeated": f"{what} was not tried: {self.reason}",
            "unusable": f"{what} is lost: {self.reason}",
        }[self.fate]


def converse(client: ModelClient, turn: Turn, max_tokens: int, fits: Callable[[Sequence[Message]], bool]) -> TurnResult:
    """One turn: a call, and if its reply cannot be applied, the error and another call. Runs in a thread and reads
    only the turn. ``fits``: whether messages fit into the model's context."""
    messages: Sequence[Message] = turn.messages
    error = ""
    for attempt in range(1 + REPAIRS):
        number, purpose = turn.number * (1 + REPAIRS) + attempt, "repair" if attempt else "turn"
        reply = client.numbered(number, messages, max_tokens=max_tokens, purpose=purpose)
        try:
            answer = parse(reply.text)
            if answer.passed:
                return TurnResult(turn, answer, None)
            source = answer.apply(turn.parent.source)
            if source.source_id in turn.tried:
                raise BadEdit("This source was tried already, and the program forbids repeats.")
            return TurnResult(turn, answer, source)
        except BadEdit as bad:
            error = str(bad)
        if reply.finish == "length":
            error = f"the reply was cut off after {reply.tokens_out} tokens; write a shorter one ({error})"
        messages = briefing.repair(turn.messages, messages, reply.text, error, fits)
    return TurnResult(turn, None, None, error)
