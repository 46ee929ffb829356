"""Verdicts of a check on fresh data: of a source against the baseline, of a champion's lead against the recorded one.

Gains are in the task's unit, positive is better. Intervals are two-sided 95% by Welch (1947) unless said otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from analysis.statistics import (
    interval,
    limits,
    shared_error,
    skewed_difference,
    t_quantile,
    welch_difference,
)

KEPT_SHARE = 0.5  # of its gain; a source that keeps more without training contains trained weights
CONTRADICTION = 0.99  # confidence at which a recorded figure is called too high
SPLIT = 0.2  # of a gain: how much another hidden split alone may reduce it (a few percent were measured)


@dataclass(frozen=True)
class MeanDifference:
    """A difference of two means: ``se`` and the interval are None where a side has fewer than two values."""

    gain: float
    se: float | None
    df: float
    low: float | None
    high: float | None
    n: int


def effect(values: Sequence[float], others: Sequence[float]) -> MeanDifference:
    """Mean of ``values`` minus mean of ``others``, neither empty."""
    gain, se, df = welch_difference(values, others)
    assert gain is not None
    low, high = interval(gain, se, df)
    return MeanDifference(gain, se, df, low, high, len(values))


def mean_difference(values: Sequence[float | None], baseline: Sequence[float], sign: float) -> MeanDifference:
    """How much better ``values`` (metrics; None: failed, gains 0) are than the baseline's metrics."""
    middle = math.fsum(baseline) / len(baseline)
    return effect([0.0 if v is None else sign * (middle - v) for v in values], around_zero(baseline, sign))


def one_draw(measured: MeanDifference, baseline: Sequence[float]) -> MeanDifference:
    """``measured`` of a source with the same score under every seed: one draw, as uncertain as a seed of the baseline.

    Equal values do not count as independent measurements: a spread of 0 means that the source ignores the seed, not
    that it has no luck.
    """
    middle, n = math.fsum(baseline) / len(baseline), len(baseline)
    variance = math.fsum((value - middle) ** 2 for value in baseline) / (n - 1)
    se = math.sqrt(variance * (1 + 1 / n))
    low, high = interval(measured.gain, se, n - 1)
    return MeanDifference(measured.gain, se, n - 1, low, high, 1)


def keeps_its_gain(trained: MeanDifference, untrained: MeanDifference) -> bool:
    """Whether a source is better than the baseline without training, by more than KEPT_SHARE of its gain."""
    shown = untrained.low is not None and untrained.low > 0
    return shown and untrained.gain > KEPT_SHARE * max(trained.gain, 0.0)


def source_verdict(trained: MeanDifference, failed: Sequence[str], embedded: str) -> str:
    """One of ``better than the baseline``, ``not shown``, ``worse``, ``invalid: REASON``.

    ``failed``: the reason of each failed seed; ``embedded``: the finding of the ablation, or empty.
    """
    if len(failed) == trained.n:
        return f"invalid: {failed[0].removeprefix('invalid: ')}"
    if embedded:
        return f"invalid: {embedded}"
    if trained.low is not None and trained.low > 0:
        return "better than the baseline"
    return "worse" if trained.high is not None and trained.high < 0 else "not shown"


@dataclass(frozen=True)
class Lead:
    """Two arms, measured once: the gain of each over the baseline, the lead of the first over the second."""

    first: MeanDifference
    second: MeanDifference
    lead: MeanDifference

    @property
    def holds(self) -> bool:
        """Whether the lead's interval lies above 0: the one-sided test at 2.5% that a study announces."""
        return self.lead.low is not None and self.lead.low > 0


def lead(
    first: Sequence[float], second: Sequence[float], baseline: Sequence[float], touched: tuple[float, float] = (1, 1)
) -> Lead:
    """The lead, from the gains of the runs of two arms and the baseline's seeds (around 0); none may be empty.

    ``touched``: the share of each arm's measurements that were compared with the baseline. The others gain exactly 0.
    """
    apart = skewed_difference(first, second, shared_error(baseline, *touched))
    between = MeanDifference(apart.value, apart.se, apart.df, *limits(apart), len(first))
    return Lead(effect(first, baseline), effect(second, baseline), between)


def around_zero(baseline: Sequence[float], sign: float) -> list[float]:
    """The baseline's metrics as gains over their own mean."""
    middle = math.fsum(baseline) / len(baseline)
    return [sign * (middle - metric) for metric in baseline]


def too_high(recorded: MeanDifference, fresh: MeanDifference) -> bool:
    """Whether a recorded gain, less SPLIT of it, exceeds the fresh one beyond what both errors allow at CONTRADICTION.

    The two are taken as independent; they share runs, so that the true chance of a false alarm is smaller.
    """
    if recorded.se is None or fresh.se is None:
        return False
    change = fresh.gain - recorded.gain + SPLIT * abs(recorded.gain)
    variance = recorded.se**2 + fresh.se**2
    if variance == 0.0:
        return change < 0
    df = variance**2 / (recorded.se**4 / recorded.df + fresh.se**4 / fresh.df)
    return change + t_quantile((1 + CONTRADICTION) / 2, df) * math.sqrt(variance) < 0


def study_verdict(recorded: Lead, fresh: Lead, embedded: str) -> tuple[str, str]:
    """(``confirmed``, ``not confirmed`` or ``contradicted``, why) of a study's claim that one arm leads another."""
    if embedded:
        return "contradicted", embedded
    if too_high(recorded.lead, fresh.lead):
        return "contradicted", "the recorded lead is larger than the fresh measurements allow"
    if too_high(recorded.first, fresh.first):
        return "contradicted", "the recorded gain is larger than the fresh measurements allow"
    if not recorded.holds:
        return "not confirmed", "the study itself has no significant lead"
    if not fresh.holds:
        return "not confirmed", "the lead is not significant in the fresh measurements; more runs may show it (--runs)"
    return "confirmed", "the lead is significant in the fresh measurements too"
