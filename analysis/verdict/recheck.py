"""Verdicts of a check on fresh data: of a source against the baseline, of a champion's lead against the recorded one.

Gains are in the task's unit, positive is better. Intervals are two-sided 95% by Welch (1947) unless said otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from analysis.statistics import Estimate, shared_error, skewed_difference, t_quantile
from analysis.verdict.gain_estimate import GainEstimate, gain_over_seeds
from trainer.rows import EXACT

KEPT_SHARE = 0.5  # of its gain; a source that keeps more without training contains trained weights
CONTRADICTION = 0.99  # confidence at which a recorded figure is called too high
SPLIT = 0.2  # of a gain: how much another hidden split alone may reduce it (a few percent were measured)


def keeps_its_gain(trained: GainEstimate, untrained: GainEstimate) -> bool:
    """Whether a source is better than the baseline without training, by more than KEPT_SHARE of its gain."""
    return untrained.is_positive and untrained.gain > KEPT_SHARE * max(trained.gain, 0.0)


def source_verdict(trained: GainEstimate, failed: Sequence[str], embedded: str, seeds: int) -> str:
    """One of ``better than the baseline``, ``not shown``, ``worse``, ``invalid: REASON``.

    ``failed``: the reason of each failed one of the ``seeds``; ``embedded``: the finding of the ablation, or empty.
    """
    if len(failed) == seeds:
        return f"invalid: {failed[0].removeprefix('invalid: ')}"
    if embedded:
        return f"invalid: {embedded}"
    if trained.noise == EXACT and trained.gain:
        return "better than the baseline" if trained.gain > 0 else "worse"
    if trained.is_positive:
        return "better than the baseline"
    return "worse" if trained.high is not None and trained.high < 0 else "not shown"


@dataclass(frozen=True)
class Lead:
    """Two arms, measured once: the gain of each over the baseline, the lead of the first over the second."""

    first: GainEstimate
    second: GainEstimate
    lead: Estimate

    @property
    def holds(self) -> bool:
        """Whether the lead's interval lies above 0: the one-sided test at 2.5% that a study announces."""
        return self.lead.is_positive


def lead(
    first: Sequence[float],
    second: Sequence[float],
    untouched: Sequence[float],
    touched: tuple[float, float],
    data_noise: str,
) -> Lead:
    """The lead, from the gains of the runs of two arms, neither empty. ``untouched``: as for `gain_over_seeds`.

    ``touched``: the share of each arm's measurements that were compared with the baseline. The others gain exactly 0.
    """
    between = skewed_difference(first, second, shared_error(untouched, *touched))
    ours, theirs = (gain_over_seeds(arm, untouched, data_noise) for arm in (first, second))
    return Lead(ours, theirs, between)


def too_high(recorded: Estimate, fresh: Estimate) -> bool:
    """Whether a recorded gain, less SPLIT of it, exceeds the fresh one beyond what both errors allow at CONTRADICTION.

    The two are taken as independent; they share runs, so that the true chance of a false alarm is smaller.
    """
    if recorded.se is None or fresh.se is None:
        return False
    change = fresh.or_zero - recorded.or_zero + SPLIT * abs(recorded.or_zero)
    variance = recorded.se**2 + fresh.se**2
    if variance == 0.0:
        return change < 0
    df = variance**2 / (recorded.se**4 / recorded.df + fresh.se**4 / fresh.df)
    return change + t_quantile((1 + CONTRADICTION) / 2, df) * math.sqrt(variance) < 0


def study_verdict(recorded: Lead, fresh: Lead, embedded: str) -> tuple[str, str]:
    """(``confirmed``, ``not confirmed``, ``contradicted`` or ``nothing to confirm``, why) of a study's claim that one
    arm leads another."""
    if embedded:
        return "contradicted", embedded
    if too_high(recorded.lead, fresh.lead):
        return "contradicted", "the recorded lead is larger than the fresh measurements allow"
    if too_high(recorded.first, fresh.first):
        return "contradicted", "the recorded gain is larger than the fresh measurements allow"
    if not recorded.holds:
        return "nothing to confirm", "the study itself has no significant lead"
    if not fresh.holds:
        return "not confirmed", "the lead is not significant in the fresh measurements; more runs may show it (--runs)"
    return "confirmed", "the lead is significant in the fresh measurements too"
