"""The divisor of gains on a task in means over several tasks: stock's mean gain on the task.

A ratio to a value near 0 is unstable, so stock's mean is used only if the lower end of its 95% interval is above 0.
Otherwise the divisor is the standard deviation between the runs of one program (pooled over all programs on the task);
the scale says which of the two it is.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from analysis.statistics import Mean, mean_interval

UNIT = "x stock"


@dataclass(frozen=True)
class GainScale:
    """``size`` in the task's unit, above 0; ``of_stock``: stock's mean gain, else the SD between runs."""

    task: str
    unit: str
    size: float
    of_stock: bool
    stock: Mean


def scale_of(task: str, unit: str, stock: Sequence[float], others: Iterable[Sequence[float]] = ()) -> GainScale:
    """The scale, from the gains of stock's runs (all its arms) and those of each other program."""
    mean = mean_interval(stock)
    if mean.mean is not None and mean.low is not None and mean.low > 0.0:
        return GainScale(task, unit, mean.mean, True, mean)
    return GainScale(task, unit, pooled_sd([stock, *others]) or 1.0, False, mean)


def pooled_sd(programs: Iterable[Sequence[float]]) -> float:
    """Standard deviation of runs around their program's mean; 0 if no program has two different runs."""
    squares, df = 0.0, 0
    for gains in programs:
        if len(gains) > 1:
            mean = math.fsum(gains) / len(gains)
            squares += math.fsum((gain - mean) ** 2 for gain in gains)
            df += len(gains) - 1
    return math.sqrt(squares / df) if df else 0.0
