"""Untried values next to a value with a gain."""

from __future__ import annotations

import math
from collections.abc import Sequence

Number = float | int


def untried(best: Number, tried: Sequence[Number]) -> list[Number]:
    """Up to two values beside ``best``: half-way to its tried neighbours, or one step beyond if there is none.

    Steps are geometric between values of one sign and arithmetic if a zero is involved; integers stay integers.
    """
    rungs = sorted({float(value) for value in tried} | {float(best)})
    at = rungs.index(float(best))
    below, above = rungs[at - 1] if at else None, rungs[at + 1] if at + 1 < len(rungs) else None
    beside = [_between(rungs[at], above) if above is not None else _beyond(below, rungs[at])]
    beside += [_between(rungs[at], below) if below is not None else _beyond(above, rungs[at])]
    whole = all(isinstance(value, int) for value in [best, *tried])
    values = [_tidy(value, whole) for value in beside if value is not None]
    return [value for value in dict.fromkeys(values) if float(value) not in rungs]


def _between(a: float, b: float) -> float:
    return math.copysign(math.sqrt(a * b), a) if a * b > 0 else (a + b) / 2


def _beyond(inner: float | None, edge: float) -> float | None:
    """One step beyond the edge; None if there is no step, or if it would reach or cross zero."""
    if inner is None:
        return None
    step = edge * edge / inner if inner * edge > 0 else 2 * edge - inner
    return step if step * edge > 0 else None


def _tidy(value: float, whole: bool) -> Number:
    return round(value) if whole else float(f"{value:.3g}")
