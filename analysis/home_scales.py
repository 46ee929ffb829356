"""The view `scales`: the divisor of gains on each training task in means over several tasks."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from analysis.scales import scale_of
from analysis.study_power import arm_gains
from programs.shelf import starter

if TYPE_CHECKING:
    import duckdb

CHOOSING = ("race", "generation", "contest")  # purposes of the matches that select programs


@dataclass(frozen=True)
class TaskScale:
    """A row of the view `scales`: a training task. Gains in the metric's unit."""

    task: str
    unit: str | None
    size: float
    of_stock: bool  # the size is stock's mean gain; else a standard deviation between runs
    stock_gain: float | None
    low: float | None
    high: float | None
    n: int  # runs of stock


def task_scales(con: duckdb.DuckDBPyConnection) -> Iterator[TaskScale]:
    """From the verified runs of all selecting matches, in the order of the tasks' first match."""
    by_task: dict[tuple[str, str], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for arm in arm_gains(con):
        if arm.purpose in CHOOSING:
            by_task[arm.task, arm.unit or ""][arm.program_id] += arm.gains
    stock = starter("stock").program_id
    for (task, unit), gains in by_task.items():
        scale = scale_of(task, unit, gains.pop(stock, []), gains.values())
        mean = scale.stock
        yield TaskScale(task, unit, scale.size, scale.of_stock, mean.mean, mean.low, mean.high, mean.n)
