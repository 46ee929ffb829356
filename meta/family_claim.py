"""The claim of a study over families: one pre-declared one-sided test, over tasks that nothing has used.

The new tasks are a sample of their families, so the test is over tasks: on each, the mean gain of the champion's runs
minus that of the reference's. Within a family this is a paired t test, corrected for skewness as in `meta.claim`; over
several families it is the mean of their differences, each divided by the family's scale (stock's mean gain there in the
search), with Satterthwaite's degrees of freedom. The A/A difference compares stock's two arms in the same way.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from analysis.ratios import mean_of_paired_ratios
from analysis.scales import GainScale
from analysis.statistics import ErrorEstimate, limits, mean_interval, one_sided, skewed_difference
from analysis.verdict.decision import ArmsDifference
from meta.claim import (
    OWN,
    START,
    STOCK,
    TWIN,
    Claim,
    Gains,
    OnTask,
    compared,
    gain_of,
    mean_over,
    over,
    pooled,
)


@dataclass(frozen=True)
class OnNewTasks:
    """The gains on the new tasks of one family, task by task; ``scale``: None for a family that the search left out."""

    family: str
    unit: str
    gains: Sequence[Gains]
    scale: GainScale | None = None

    def means(self, role: str) -> list[float]:
        """Of the runs of that role, by task; empty unless it ran on every task."""
        runs = [pooled(gains, None)[0].get(role, ()) for gains in self.gains]
        return [math.fsum(played) / len(played) for played in runs] if all(runs) else []


def family_claim(measured: Sequence[OnNewTasks]) -> Claim:
    """The claim over one or several families; its means and intervals are over tasks."""
    if len(measured) == 1:
        return _on_family(measured[0])
    families = [
        OnTask(on.family, on.unit, on.scale.size, on.scale.of_stock, _on_family(on)) for on in measured if on.scale
    ]
    reference = OWN if all(on.means(OWN) for on in measured) else STOCK
    result = _claim(measured, reference)
    bare = all(on.means("without-ideas") for on in measured)
    return replace(
        result,
        champion=mean_over(families, lambda c: c.champion),
        stock=mean_over(families, lambda c: c.stock),
        without_ideas=mean_over(families, lambda c: c.without_ideas) if bare else None,
        own=mean_over(families, lambda c: c.own) if reference == OWN else None,
        start=replace(result.start, gain=mean_over(families, lambda c: gain_of(c.start))) if result.start else None,
        tasks=tuple(families),
        aa=tuple(each for on in families for each in on.claim.aa),
    )


def _on_family(on: OnNewTasks) -> Claim:
    return _claim([on], OWN if on.means(OWN) else STOCK)


def _claim(measured: Sequence[OnNewTasks], reference: str) -> Claim:
    """The test over the families together; its means are those of the first one."""
    first = measured[0]
    tested = _champions_lead(measured, reference)
    low, high = limits(tested)
    bare = mean_interval(first.means("without-ideas"))
    beside = _champions_lead(measured, STOCK) if reference == OWN else None
    return Claim(
        champion=mean_interval(first.means("champion")),
        stock=mean_interval(first.means(STOCK)),
        without_ideas=bare if bare.n else None,
        difference=tested.value,
        low=low,
        high=high,
        p=one_sided(tested),
        ratio=mean_of_paired_ratios([(on.means("champion"), on.means(reference)) for on in measured]),
        ratio_without_ideas=mean_of_paired_ratios([(on.means("without-ideas"), on.means(reference)) for on in measured])
        if bare.n
        else None,
        aa=_arms_difference(first),
        own=mean_interval(first.means(OWN)) if reference == OWN else None,
        over_stock=(beside.value, *limits(beside)) if beside else None,
        ratio_stock=mean_of_paired_ratios([(on.means("champion"), on.means(STOCK)) for on in measured])
        if beside
        else None,
        families=tuple(on.family for on in measured),
        start=compared(
            mean_interval(first.means(START)),
            _champions_lead(measured, START),
            mean_of_paired_ratios([(on.means("champion"), on.means(START)) for on in measured]),
        )
        if all(on.means(START) for on in measured)
        else None,
    )


def _champions_lead(measured: Sequence[OnNewTasks], reference: str) -> ErrorEstimate:
    """Over another program, in units of the scales where there are several families."""
    parts = []
    for on in measured:
        size = on.scale.size if on.scale and len(measured) > 1 else 1.0
        leads = [a - b for a, b in zip(on.means("champion"), on.means(reference), strict=True)]
        apart = skewed_difference(leads, [0.0] * len(leads))
        parts.append(apart._replace(value=apart.value / size, se=apart.se and apart.se / size))
    return over(parts) if len(parts) > 1 else parts[0]


def _arms_difference(on: OnNewTasks) -> tuple[ArmsDifference, ...]:
    """Stock's second arm minus its first, over the tasks."""
    if not all(gains.get(TWIN) for gains in on.gains):
        return ()
    apart = mean_interval([_mean(gains[TWIN]) - _mean(gains[STOCK]) for gains in on.gains])
    return (ArmsDifference(on.family, on.unit, apart.mean or 0.0, apart.low, apart.high, apart.n, apart.n),)


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)
