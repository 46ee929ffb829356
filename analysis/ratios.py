"""The mean over several tasks of a ratio of two means, with a one-sided lower bound."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from analysis.statistics import Ratio, error_of, mean_interval, ratio, satterthwaite, t_quantile

LEVEL = 0.95  # of the bounds


@dataclass(frozen=True)
class Sides:
    """Gains of top and bottom on one task, and the baseline and ``touched`` shares of ``ratio``."""

    top: Sequence[float]
    bottom: Sequence[float]
    baseline: Sequence[float] = ()
    touched: tuple[float, float] = (1.0, 1.0)


def mean_of_ratios(tasks: Sequence[Sides]) -> Ratio:
    """Mean over tasks of top's mean over bottom's, the tasks being independent.

    The bound is that of the linear approximation (delta method: Casella and Berger, Statistical Inference, 2nd ed.,
    5.5.4): with r = x / y on a task, its variance is (vx + r² vy + (wx - r wy)² v) / y², the error of the baseline as
    in ``ratio``; degrees of freedom by Satterthwaite over all parts. If Fieller's method gives no bound
    on a task, the approximation is invalid, and there is no bound. No ratio if one task has none.
    """
    all_ratios = [ratio(t.top, t.bottom, LEVEL, t.baseline, t.touched) for t in tasks]
    n_top, n_bottom = min(r.n_top for r in all_ratios), min(r.n_bottom for r in all_ratios)
    ratios = [r.ratio for r in all_ratios if r.ratio is not None]
    if len(ratios) < len(all_ratios):
        return Ratio(None, None, LEVEL, n_top, n_bottom)
    mean = math.fsum(ratios) / len(all_ratios)
    if any(r.lower is None for r in all_ratios):
        return Ratio(mean, None, LEVEL, n_top, n_bottom)
    parts = [part for task, r in zip(tasks, ratios, strict=True) for part in _parts(task, r)]
    total = math.fsum(part for part, _ in parts)
    if total == 0.0:
        return Ratio(mean, mean, LEVEL, n_top, n_bottom)
    t = t_quantile(LEVEL, satterthwaite(parts))
    return Ratio(mean, mean - t * math.sqrt(total) / len(all_ratios), LEVEL, n_top, n_bottom)


def mean_of_paired_ratios(families: Sequence[tuple[Sequence[float], Sequence[float]]]) -> Ratio:
    """Mean over families of sum(top) / sum(bottom). Each family has one pair of values for each of its tasks, which are
    a sample.

    The bound is that of the linear approximation (Cochran, Sampling Techniques, 3rd ed., 2.11): the variance of a ratio
    r is that of the mean of (top - r bottom), divided by the square of bottom's mean; degrees of freedom by
    Satterthwaite. No bound where a bottom's mean is not significantly above 0, no ratio where it is not above 0.
    """
    n = min(len(top) for top, _ in families)
    means = [mean_interval(bottom) for _, bottom in families]
    if any((mean.mean or 0.0) <= 0.0 for mean in means):
        return Ratio(None, None, LEVEL, n, n)
    ratios = [math.fsum(top) / math.fsum(bottom) for top, bottom in families]
    middle = math.fsum(ratios) / len(ratios)
    if n < 2 or any((mean.mean or 0.0) <= t_quantile(LEVEL, mean.n - 1) * (mean.se or 0.0) for mean in means):
        return Ratio(middle, None, LEVEL, n, n)
    parts = [
        (error_of([x - r * y for x, y in zip(*pair, strict=True)]) / (mean.mean or 1.0) ** 2, len(pair[0]) - 1.0)
        for pair, r, mean in zip(families, ratios, means, strict=True)
    ]
    total = math.fsum(part for part, _ in parts)
    t = t_quantile(LEVEL, satterthwaite(parts)) if total else 0.0
    return Ratio(middle, middle - t * math.sqrt(total) / len(ratios), LEVEL, n, n)


def _parts(task: Sides, r: float) -> list[tuple[float, float]]:
    """Parts of the variance of the task's ratio, each with its degrees of freedom."""
    y2 = (math.fsum(task.bottom) / len(task.bottom)) ** 2
    off = (task.touched[0] - r * task.touched[1]) ** 2
    return [
        (error_of(task.top) / y2, len(task.top) - 1.0),
        (r**2 * error_of(task.bottom) / y2, len(task.bottom) - 1.0),
        (off * error_of(task.baseline) / y2, max(1.0, len(task.baseline) - 1.0)),
    ]
