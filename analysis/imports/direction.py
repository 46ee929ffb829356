"""The direction of a metric, from the log itself, the metric's name, and the rows that its author kept."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from trainer.values.metric_names import named_direction

SURE = 2.0  # net rows needed for a direction
NAME, WEAK_NAME = 3.0, 1.0  # weight of a name, in rows
CONFLICT = 3  # net rows against a name that make it doubtful


@dataclass(frozen=True)
class Direction:
    """``way``: lower, higher, or None if unknown; ``why``: how it was decided, or what is unclear."""

    way: str | None
    why: str


def votes(decided: Iterable[tuple[float | None, str | None]]) -> int:
    """Rows in favour of "lower is better" minus those in favour of "higher", from (metric, decision) in log order.

    A row is compared with the last kept one: kept rows should be better, discarded ones worse.
    """
    head: float | None = None
    sum_ = 0
    for metric, decision in decided:
        if metric is None or decision is None:
            continue
        if head is not None and metric != head and decision != "baseline":
            sum_ += 1 if (metric < head) == (decision == "keep") else -1
        if decision in ("keep", "baseline") or head is None:
            head = metric
    return sum_


def infer(name: str | None, decided: Iterable[tuple[float | None, str | None]]) -> Direction:
    """The direction, from the metric's name and the kept rows; each row counts 1, a clear name counts NAME."""
    way, clear = named_direction(name) if name else (None, False)
    seen = votes(decided)
    rows = "lower" if seen > 0 else "higher"
    if way is not None and way != rows and abs(seen) >= (CONFLICT if clear else SURE):
        if not clear and abs(seen) >= SURE + WEAK_NAME:
            return Direction(rows, "the rows kept")
        return Direction(None, f"the name {name!r} suggests that {way} is better, the kept rows suggest {rows}")
    weight = 0.0 if way is None else (NAME if clear else WEAK_NAME) * (1 if way == "lower" else -1)
    total = weight + seen
    if way is not None and (clear or total * weight > 0):
        return Direction(way, "its name" + (" and the rows kept" if seen * weight > 0 else ""))
    if abs(total) >= SURE:
        return Direction("lower" if total > 0 else "higher", "the rows kept")
    what = f"the metric {name!r}" if name else "a metric without a name"
    return Direction(None, f"the direction of {what} is unclear from {abs(seen)} kept or discarded rows")
