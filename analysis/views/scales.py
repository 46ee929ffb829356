"""The divisor of gains on a task in means over several tasks: stock's mean gain on the task.

A ratio to a value near 0 is unstable, so stock's mean is used only where it may be divided by (`statistics.divides`).
Otherwise the divisor is the standard deviation between the runs of one program (pooled over all programs on the task);
the scale says which of the two it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from analysis.statistics import Estimate, mean_interval
from analysis.views.tables import statement
from programs.shelf import starter
from trainer.rows import pooled_sd

if TYPE_CHECKING:
    import duckdb

UNIT = "x stock"
SELECTING = ("race", "generation", "contest")  # purposes of the matches that a scale is of


@dataclass(frozen=True)
class GainScale:
    """``size`` in the task's unit, above 0; ``of_stock``: stock's mean gain, else the SD between runs."""

    task: str
    unit: str
    size: float
    of_stock: bool
    stock: Estimate


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


def scale_of(task: str, unit: str, arms: Iterable[tuple[str, Sequence[float]]]) -> GainScale:
    """The scale, from the id of its program and the gains of each arm; all arms of stock are one sample."""
    gains: dict[str, list[float]] = {starter("stock").program_id: []}
    for program_id, gained in arms:
        gains.setdefault(program_id, []).extend(gained)
    stock, *others = gains.values()
    mean = mean_interval(stock)
    if mean.is_positive:
        return GainScale(task, unit, mean.value or 1.0, True, mean)
    spread = pooled_sd([stock, *others])
    return GainScale(task, unit, spread[0] if spread and spread[0] else 1.0, False, mean)


def task_scales(con: duckdb.DuckDBPyConnection) -> Iterator[TaskScale]:
    """From the verified runs of all selecting matches, in the order of the tasks' first match."""
    asked = con.execute(statement("verdict/scales"), {"selecting": SELECTING})
    for task, unit, programs, gains in asked.fetchall():
        scale = scale_of(task, unit or "", zip(programs, gains, strict=True))
        mean = scale.stock
        yield TaskScale(task, unit, scale.size, scale.of_stock, mean.value, mean.low, mean.high, mean.n)
