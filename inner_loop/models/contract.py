"""What is asked of a language model, and what comes back. Nothing here knows a provider."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol

from inner_loop.models.scrub import scrub
from inner_loop.models.tools import NOTHING, Offer, ToolCall
from programs.errors import MetaloopError


@dataclass(frozen=True)
class Message:
    """``volatile`` is sent after ``text`` and is no part of the request's identity: logs hold wall times, which no
    two executions share. ``calls`` are of an assistant's message, ``answers`` names the call that a tool's answers."""

    role: Literal["system", "user", "assistant", "tool"]
    text: str
    volatile: str = ""
    calls: tuple[ToolCall, ...] = ()
    answers: str = ""

    @property
    def whole(self) -> str:
        return self.text + self.volatile

    @property
    def clean(self) -> Message:
        """Without secrets. What a model called was cleaned when it came."""
        return replace(self, text=scrub(self.text), volatile=scrub(self.volatile))

    @property
    def stable(self) -> list[object]:
        """What makes two messages the same."""
        more: list[object] = [[call.wire for call in self.calls], self.answers] if self.calls or self.answers else []
        return [self.role, self.text, *more]


@dataclass(frozen=True)
class Reply:
    """What a model answered. ``usd`` is None where no price is known, never 0 for that.

    ``finish`` is the provider's word: stop, length (cut off), content_filter, tool_calls. Tokens, dollars and wall
    seconds are of the attempt that answered; ``attempts`` counts those before it too, and what they cost is in the
    `call` event.
    """

    text: str
    model: str
    tokens_in: int
    tokens_out: int
    tokens_cached: int
    usd: float | None
    wall_seconds: float
    finish: str
    attempts: int
    calls: tuple[ToolCall, ...] = ()

    @property
    def tokens(self) -> int:
        return self.tokens_in + self.tokens_out


class LanguageModel(Protocol):
    """Calls are numbered in the order in which they are made; the number is what a resumed run knows them by."""

    def complete(self, messages: Sequence[Message], *, max_tokens: int, purpose: str) -> Reply:
        """A reply of at most ``max_tokens`` tokens, which may be empty, cut off, or a refusal: it is data.

        ``purpose`` is a word or two for the ledger (`turn`, `repair`, `mutate rewrite`). Faults of providers are
        waited out, or another model is asked. Raises NoReply where that does not help, or a cap is reached.
        """


class NoReply(Exception):
    """No model will answer any more: a cap is reached, a key is refused, or all servers stayed silent too long.

    Control flow like `BenchClosed`: a run ends by it early and can be resumed. ``problem`` is what the user is told.
    """

    def __init__(self, problem: MetaloopError) -> None:
        super().__init__(problem.message)
        self.problem = problem


def request_id(models: Sequence[str], messages: Sequence[Message], max_tokens: int, offer: Offer = NOTHING) -> str:
    """SHA-256 of a request: the models that may answer, the messages without what is volatile, the length, tools."""
    body = [list(models), [message.stable for message in messages], max_tokens, *([offer.wire] if offer.tools else [])]
    return hashlib.sha256(json.dumps(body, ensure_ascii=False).encode("utf-8", "replace")).hexdigest()
