"""What gains on a task are divided by, so that tasks can be told in one figure: stock's mean gain there.

A ratio to what may be 0 explodes: stock's mean is taken only where the lower end of its own 95% interval is above 0.
Where it is not, gains are told in standard deviations between the runs of one program instead (pooled over all
programs that ran there), which is known however little stock gains; the scale says which of the two it is.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from analysis.statistics import Mean, mean_interval

UNIT = "x stock"


@dataclass(frozen=True)
class GainScale:
    """``size`` in the task's unit, above 0; ``of_stock``: it is stock's mean gain, else the sd between runs."""

    task: str
    unit: str
    size: float
    of_stock: bool
    stock: Mean


def scale_of(task: str, unit: str, stock: Sequence[float], others: Iterable[Sequence[float]] = ()) -> GainScale:
    """From the gains of stock's runs (all its arms together), and those of each other program."""
    mean = mean_interval(stock)
    if mean.mean is not None and mean.low is not None and mean.low > 0.0:
        return GainScale(task, unit, mean.mean, True, mean)
    return GainScale(task, unit, pooled_sd([stock, *others]) or 1.0, False, mean)


def pooled_sd(programs: Iterable[Sequence[float]]) -> float:
    """Standard deviation of a run about its program's mean; 0 where no program has two runs that differ."""
    squares, df = 0.0, 0
    for gains in programs:
        if len(gains) > 1:
            mean = math.fsum(gains) / len(gains)
            squares += math.fsum((gain - mean) ** 2 for gain in gains)
            df += len(gains) - 1
    return math.sqrt(squares / df) if df else 0.0
