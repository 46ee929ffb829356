"""What the model calls of a run came to."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from inner_loop.events import CallEvent


@dataclass(frozen=True)
class Spend:
    """``usd`` is None where one of the calls has no price."""

    calls: int
    tokens: int
    usd: float | None


def spend_of(calls: Iterable[CallEvent]) -> Spend:
    """Tokens and dollars, of the failed calls too.

    Added up by their numbers: threads emit them in any order, and sums of floats depend on it.
    """
    recorded = sorted(calls, key=lambda call: (call.number, call.status))
    prices = [call.usd for call in recorded]
    usd = None if None in prices else math.fsum(price for price in prices if price is not None)
    return Spend(len(recorded), sum(call.tokens for call in recorded), usd)
