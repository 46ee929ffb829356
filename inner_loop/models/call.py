"""One call while it is made, and the `call` event that it leaves."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from inner_loop.models.contract import Message, Reply
from inner_loop.models.provider import Fault
from inner_loop.models.purse import Cost, Orphan, Purse
from inner_loop.models.tools import NOTHING, Offer

FAULTS = 20  # that an event tells of, the latest ones


@dataclass
class Call:
    """What it asks, what it has met and cost so far; ``usd`` and ``lost_usd`` are None where a price is not known.

    ``lost``: what attempts took at most of which nobody told the true number.
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
    held: Cost | None = None  # what the answer took, until its event is written down

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.began

    def add(self, tokens: int, usd: float | None) -> None:
        self.tokens += tokens
        self.usd = _sum(self.usd, usd)

    def lose(self, tokens: int, usd: float | None) -> None:
        self.lost_tokens += tokens
        self.lost_usd = _sum(self.lost_usd, usd)

    def spent(self) -> dict[str, Any]:
        """What a recording keeps of it."""
        return {
            "tokens": self.tokens, "usd": self.usd, "lost_tokens": self.lost_tokens, "lost_usd": self.lost_usd,
        }  # fmt: skip

    def so_far(self) -> dict[str, Any]:
        """What its account holds, for the case that its process is killed."""
        about = {"run_id": self.run_id} if self.run_id else {}
        return {
            **about, "number": self.number, "purpose": self.purpose, "request": self.request, **self.spent(),
            "wall_seconds": round(self.seconds, 4), "attempts": self.attempts, "faults": self.faults[-FAULTS:],
        }  # fmt: skip

    def event(self, reply: Reply | None, status: str, reason: str) -> dict[str, Any]:
        """Tokens, dollars and wall seconds are of all attempts."""
        return {"kind": "call", **self.so_far(), **_replied(reply), "status": status, "reason": reason}


def orphan_event(orphan: Orphan) -> dict[str, Any]:
    """The event of a call whose process was killed: what was in flight is lost, at its worst."""
    about = dict(orphan.about)
    if orphan.reserved != Cost():
        about["attempts"] += 1
        about["faults"] = [*about["faults"], "its process ended before it was answered"]
        about["lost_tokens"] += orphan.reserved.tokens
        about["lost_usd"] = _sum(about["lost_usd"], orphan.reserved.usd)  # None where the model has no price
    reason = "the process that made it was killed"
    return {"kind": "call", **about, **_replied(None), "status": "failed", "reason": reason}


def take_over(
    purse: Purse, run_id: str, told: Sequence[Mapping[str, Any]], emit: Callable[[dict[str, Any]], None]
) -> list[int]:
    """Tell of the calls that an earlier attempt at a run did not live to tell of; their numbers.

    ``told``: the run's `call` events. An account is named ``RUN:NUMBER:COUNT``, the COUNT-th call of its number.
    """
    numbers = []
    for orphan in purse.orphans(run_id):
        number, count = (int(part) for part in orphan.account.rsplit(":", 2)[1:])
        earlier = [event for event in told if int(event["number"]) == number]
        if len(earlier) > count:  # killed between its event and the end of its account
            purse.finish(orphan.account, cost_of(earlier[count]) - cost_of(orphan.about))
        else:
            emit(orphan_event(orphan))
            numbers.append(number)
            purse.bury(orphan)
    return numbers


def cost_of(event: Mapping[str, Any]) -> Cost:
    """What the purse holds of a call that was told: unpriced is 0 there."""
    usd = (event.get("usd") or 0.0) + (event.get("lost_usd") or 0.0)
    return Cost(event["tokens"] + event["lost_tokens"], usd)


def _replied(reply: Reply | None) -> dict[str, Any]:
    return {
        "model": reply.model if reply else None,
        "tokens_in": reply.tokens_in if reply else 0,
        "tokens_out": reply.tokens_out if reply else 0,
        "tokens_cached": reply.tokens_cached if reply else 0,
        "reply_usd": reply.usd if reply else None,
        "reply_seconds": reply.wall_seconds if reply else 0.0,
        "finish": reply.finish if reply else "",
        "text": reply.text if reply else "",
        **({"tools": [asdict(tool) for tool in reply.calls]} if reply and reply.calls else {}),
    }


def _sum(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else one + other
