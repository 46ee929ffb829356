"""What the model calls of a run came to."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any


def spend_of(calls: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Tokens and dollars of `call` events, the failed ones too. ``usd`` is None where one of them has no price.

    Added up by their numbers: threads tell them in any order, and sums of floats depend on it.
    """
    made = sorted(calls, key=lambda call: (int(call["number"]), str(call["status"])))
    prices = [call["usd"] for call in made]
    return {
        "calls": len(made),
        "tokens": sum(int(call["tokens"]) for call in made),
        "usd": None if None in prices else math.fsum(prices),
    }
