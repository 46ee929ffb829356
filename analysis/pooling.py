"""Partial pooling: estimates of many programs or directives, each shrunk towards their common mean."""

from __future__ import annotations

import math
from collections.abc import Sequence

from analysis.statistics import between_variance


def pooled(estimates: Sequence[float], ses: Sequence[float | None]) -> list[tuple[float, float] | None]:
    """(posterior mean, posterior sd) of each; None if it has no SE or there is nothing to pool it with.

    Normal-normal empirical Bayes (Efron and Morris 1975): the spread of the true values is the moment estimate of
    DerSimonian and Laird (1986), the common mean is weighted by precision, and its own error is included.
    """
    known = [i for i, se in enumerate(ses) if se is not None and se > 0.0]
    out: list[tuple[float, float] | None] = [None] * len(estimates)
    if len(known) < 3:
        return out
    means, variances = [estimates[i] for i in known], [float(ses[i] or 0.0) ** 2 for i in known]
    between = between_variance(means, variances)
    weights = [1.0 / (v + between) for v in variances]
    centre = math.fsum(w * m for w, m in zip(weights, means, strict=True)) / math.fsum(weights)
    for i, mean, variance in zip(known, means, variances, strict=True):
        luck = variance / (variance + between)
        spread = (1.0 - luck) * variance + luck**2 / math.fsum(weights)
        out[i] = centre + (1.0 - luck) * (mean - centre), math.sqrt(spread)
    return out
