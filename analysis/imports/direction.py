"""Which way a metric is better: what the log says itself, its name, and which rows its author kept."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from trainer.metric_names import named_direction

SURE = 2.0  # rows that must speak for one direction more than for the other
NAME, WEAK_NAME = 3.0, 1.0  # rows that a name counts for
CONFLICT = 3  # rows that must contradict a name before it is in doubt


@dataclass(frozen=True)
class Direction:
    """``way`` is lower, higher, or None where it cannot be told; ``why`` says how it was found, or what is unclear."""

    way: str | None
    why: str


def votes(decided: Iterable[tuple[float | None, str | None]]) -> int:
    """Rows that speak for "lower is better" less those for "higher", of (metric, decision) in the order of the log.

    A row speaks by how it lies to the last one that was kept: kept rows are better, discarded ones worse.
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
    """From the metric's name and the rows kept; each row counts one, a clear name counts NAME rows."""
    way, clear = named_direction(name) if name else (None, False)
    seen = votes(decided)
    rows = "lower" if seen > 0 else "higher"
    if way is not None and way != rows and abs(seen) >= (CONFLICT if clear else SURE):
        if not clear and abs(seen) >= SURE + WEAK_NAME:
            return Direction(rows, "the rows kept")
        return Direction(None, f"the name {name!r} says {way} is better, the rows kept say {rows}")
    weight = 0.0 if way is None else (NAME if clear else WEAK_NAME) * (1 if way == "lower" else -1)
    total = weight + seen
    if way is not None and (clear or total * weight > 0):
        return Direction(way, "its name" + (" and the rows kept" if seen * weight > 0 else ""))
    if abs(total) >= SURE:
        return Direction("lower" if total > 0 else "higher", "the rows kept")
    what = f"the metric {name!r}" if name else "a metric without a name"
    return Direction(None, f"which way {what} is better cannot be told from {abs(seen)} rows kept or discarded")
