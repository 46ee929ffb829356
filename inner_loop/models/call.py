"""One call in progress, and the `call` event that it leaves."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import NotRequired, TypedDict

from inner_loop.events import CallEvent, Emit
from inner_loop.models.contract import Message, Reply
from inner_loop.models.provider import Fault
from inner_loop.models.spend_limiter import Cost, Orphan, SpendLimiter
from inner_loop.models.tools import NOTHING, Offer

FAULTS = 20  # latest faults that an event lists


class CallSpend(TypedDict):
    """The cost of all attempts of a call, as a recording stores it; ``attempts`` only if no model answered."""

    tokens: int
    usd: float | None
    lost_tokens: int
    lost_usd: float | None
    attempts: NotRequired[int]


@dataclass
class Call:
    """A call's request, faults and cost so far; ``usd`` and ``lost_usd`` are None if a price is not known.

    ``lost_tokens``, ``lost_usd``: upper bounds for attempts of unknown cost.
    """

    run_id: str
    number: int
    purpose: str
    messages: list[Message]
    max_tokens: int
    request: str
    luck: random.Random
    account: str
    offer: Offer = NOTHING
    began: float = field(default_factory=time.monotonic)
    attempts: int = 0
    faults: list[str] = field(default_factory=list)
    tokens: int = 0
    usd: float | None = 0.0
    lost_tokens: int = 0
    lost_usd: float | None = 0.0
    met: Counter[str] = field(default_factory=Counter)
    refused: dict[str, Fault] = field(default_factory=dict)
    held: Cost | None = None  # the answer's cost, until its event is written
    limit: int = 0  # longest reply of the attempt: below max_tokens where a cap leaves less

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.began

    def add(self, tokens: int, usd: float | None) -> None:
        self.tokens += tokens
        self.usd = _sum(self.usd, usd)

    def lose(self, tokens: int, usd: float | None) -> None:
        self.lost_tokens += tokens
        self.lost_usd = _sum(self.lost_usd, usd)

    def spent(self) -> CallSpend:
        return {"tokens": self.tokens, "usd": self.usd, "lost_tokens": self.lost_tokens, "lost_usd": self.lost_usd}

    def so_far(self) -> CallEvent:
        """The event to write if its process is killed; its account stores it."""
        return CallEvent(
            run_id=self.run_id or None,
            number=self.number,
            purpose=self.purpose,
            request=self.request,
            tokens=self.tokens,
            usd=self.usd,
            lost_tokens=self.lost_tokens,
            lost_usd=self.lost_usd,
            wall_seconds=round(self.seconds, 4),
            attempts=self.attempts,
            faults=tuple(self.faults[-FAULTS:]),
        )

    def event(self, reply: Reply | None, status: str, reason: str) -> CallEvent:
        """Tokens, dollars and wall seconds cover all attempts."""
        event = replace(self.so_far(), status=status, reason=reason)
        if reply is None:
            return event
        return replace(
            event,
            model=reply.model,
            tokens_in=reply.tokens_in,
            tokens_out=reply.tokens_out,
            tokens_cached=reply.tokens_cached,
            reply_usd=reply.usd,
            reply_seconds=reply.wall_seconds,
            finish=reply.finish,
            text=reply.text,
            tools=reply.calls or None,
        )


def orphan_event(orphan: Orphan) -> CallEvent:
    """The event of a call whose process was killed; the attempt in flight counts at its worst case."""
    about = replace(orphan.about, status="failed", reason="its process was killed")
    if orphan.reserved == Cost():
        return about
    return replace(
        about,
        attempts=about.attempts + 1,
        faults=(*about.faults, "its process ended before the answer"),
        lost_tokens=about.lost_tokens + orphan.reserved.tokens,
        lost_usd=_sum(about.lost_usd, orphan.reserved.usd),  # None where the model has no price
    )


def take_over(limiter: SpendLimiter, run_id: str, recorded: Sequence[CallEvent], emit: Emit) -> list[int]:
    """Record the calls that an earlier attempt of a run started and did not record; returns their numbers.

    ``recorded``: the run's `call` events. An account is named ``RUN:NUMBER:COUNT``, the COUNT-th call with its number.
    """
    numbers = []
    for orphan in limiter.orphans(run_id):
        number, count = (int(part) for part in orphan.account.rsplit(":", 2)[1:])
        earlier = [event for event in recorded if event.number == number]
        if len(earlier) > count:  # killed between its event and the end of its account
            limiter.finish(orphan.account, cost_of(earlier[count]) - cost_of(orphan.about))
        else:
            emit(orphan_event(orphan))
            numbers.append(number)
            limiter.bury(orphan)
    return numbers


def cost_of(event: CallEvent) -> Cost:
    """What purse.json has for a call that is in the ledger: an unknown price is 0 there."""
    return Cost(event.tokens + event.lost_tokens, (event.usd or 0.0) + (event.lost_usd or 0.0))


def _sum(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else one + other
