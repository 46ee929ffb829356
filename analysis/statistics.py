"""Small statistics on small samples: intervals, tests, corrections for many tests, shrinkage.

All functions take plain sequences of floats. What the data do not determine (the spread of one run) is None, not 0.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import numpy as np

Numbers = TypeVar("Numbers", float, "np.ndarray[Any, Any]")
# Degrees of freedom, at most, of the spread pooled over all other arms when it is mixed with an arm's own (as limma
# moderates variances, Smyth 2004): the SD of three or four runs is too often off by a factor of two.
POOLED_DF = 8.0
LEAST_RUNS = 10  # below, skewness is so uncertain that a larger correction would only cost power


@dataclass(frozen=True)
class Estimate:
    """An estimate and its error. ``value``: None where nothing was measured. ``se``: its standard error, with ``df``
    degrees of freedom; None where it is unknown. ``skewness``: of its error, as `skewed_difference` estimates it (0:
    taken as symmetric). ``n``: the number of values behind it."""

    value: float | None = None
    se: float | None = None
    df: float = 0.0
    skewness: float = 0.0
    n: int = 0

    @property
    def or_zero(self) -> float:
        """The value; 0 where nothing was measured."""
        return self.value or 0.0

    def interval(self, miss: float = 0.025) -> tuple[float | None, float | None]:
        """The t interval that misses with the chance ``miss`` on each side. It agrees with `one_sided`: skewness moves
        each end outwards by its own correction. (None, None) without an SE, and where it is 0: values that are all
        equal show that their noise is not known, not that there is none."""
        if self.value is None or not self.se or self.df <= 0:
            return None, None
        q = t_quantile(1.0 - miss, self.df)
        bend = 1 / 6 + q * q / 3
        below, above = (q + max(0.0, side * self.skewness) * bend for side in (-1.0, 1.0))
        return self.value - below * self.se, self.value + above * self.se

    @property
    def low(self) -> float | None:
        """The lower end of the 95% interval."""
        return self.interval()[0]

    @property
    def high(self) -> float | None:
        """The upper end of the 95% interval."""
        return self.interval()[1]

    @property
    def is_shown(self) -> bool:
        """Whether the 95% interval excludes 0."""
        return self.is_positive or (self.high is not None and self.high < 0.0)

    @property
    def is_positive(self) -> bool:
        """Whether the 95% interval lies above 0. The one rule for a gain that may divide others."""
        return self.low is not None and self.low > 0.0

    def p(self) -> float | None:
        """Two-sided, against 0; None without an SE, 1 if value and SE are both 0."""
        from scipy.special import stdtr

        if self.value is None or self.se is None or self.df <= 0:
            return None
        if self.se == 0.0:
            return 1.0 if self.value == 0.0 else 0.0
        return float(2.0 * stdtr(self.df, -abs(self.value / self.se)))

    def one_sided(self) -> float:
        """p of "not above 0"; 1 without an SE, also where no value differs: that shows no error of 0. The larger of the
        t test's and of the one corrected for skewness.

        An error that is skewed to the left makes large t too frequent: the quantile q of t becomes q - s (1/6 + q²/3)
        with s the skewness of the estimate (Cornish and Fisher 1938; for a studentised mean Johnson 1978, two samples
        Guo and Luh 2000). p is where the corrected quantile equals t. A positive s is not corrected: that would only
        help the claim, and with two arms of the same skewness the estimate of s is noise that doubles the level.
        """
        from scipy.special import stdtr

        if self.value is None or not self.se or self.df <= 0:
            return 1.0
        t, s = self.value / self.se, max(0.0, -self.skewness)
        if t > 0.0:  # the root of q + s (1/6 + q²/3) = t
            rest = max(0.0, t - s / 6)
            t = 2 * rest / (1 + math.sqrt(1 + 4 * s / 3 * rest))
        return float(stdtr(self.df, -t))

    def minus(self, other: Estimate) -> Estimate:
        """The difference of two independent estimates; without an SE where one has none."""
        if self.value is None or other.value is None:
            return Estimate()
        difference = self.value - other.value
        if not self.se or not other.se:
            return Estimate(difference)
        df = satterthwaite([(self.se**2, self.df), (other.se**2, other.df)])
        return Estimate(difference, math.hypot(self.se, other.se), df)

    def over(self, size: float) -> Estimate:
        """The same in units of ``size``."""
        return replace(self, value=self.value and self.value / size, se=self.se and self.se / size)


@dataclass(frozen=True)
class Posterior:
    """An arm's score: as measured, its SE moderated by all arms, and shrunk towards the mean of all arms."""

    measured: Estimate
    shrunk: Estimate


def t_quantile(p: float, df: float) -> float:
    """The p-quantile of Student's t with df degrees of freedom."""
    from scipy.special import stdtrit

    return float(stdtrit(df, p))


def family_p(t: float, df: float, tests: int) -> float:
    """A bound on the probability that any of so many statistics without effect, all over one estimated SD of ``df``
    degrees of freedom, is at least ``t``: Bonferroni's for each value that the SD may have, averaged over these. With
    few degrees of freedom it is far below ``tests`` times the p of Student's t, which counts a small SD for each test.
    """
    from scipy.special import ndtr

    return float((tests * ndtr(-t * _sd_ratios(min(df, 1e6)))).clip(max=1.0).mean())


def family_quantile(miss: float, df: float, tests: int) -> float:
    """The t whose `family_p` is ``miss``, to a millionth."""
    low, high = 0.0, 1.0
    while family_p(high, df, tests) > miss:
        low, high = high, 2 * high
    while high - low > 1e-6 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if family_p(middle, df, tests) > miss else (low, middle)
    return high


@lru_cache(maxsize=64)
def _sd_ratios(df: float) -> Any:
    """Equally probable ratios of an estimated SD to the true one."""
    import numpy as np
    from scipy.special import chdtri

    return np.sqrt(chdtri(df, (np.arange(400) + 0.5) / 400) / df)


def mean_interval(values: Sequence[float]) -> Estimate:
    """The mean with its standard error over the values."""
    n = len(values)
    mean = math.fsum(values) / n if n else None
    return Estimate(mean, math.sqrt(_variance(values) / n), n - 1.0, n=n) if n > 1 else Estimate(mean, n=n)


def mean_together(arms: Iterable[Estimate]) -> Estimate:
    """`mean_interval` all values of several samples, from that of each."""
    known = [(arm.value, arm.se or 0.0, arm.n) for arm in arms if arm.value is not None]
    n = sum(size for _, _, size in known)
    if n < 2:
        return Estimate(known[0][0] if known else None, n=n)
    mean = math.fsum(m * size for m, _, size in known) / n
    squares = math.fsum(se**2 * size * (size - 1) + size * (m - mean) ** 2 for m, se, size in known)
    return Estimate(mean, math.sqrt(squares / (n - 1) / n), n - 1.0, n=n)


def satterthwaite(parts: Sequence[tuple[Numbers, Numbers]]) -> Numbers:
    """Degrees of freedom of a sum of independent variances, of each with its own (1946); the sum is not 0."""
    whole: Any = sum(part for part, _ in parts)
    return whole**2 / sum(part**2 / df for part, df in parts)  # type: ignore[no-any-return]


def mean_over_tasks(tasks: Sequence[Estimate]) -> Estimate:
    """Mean of independent estimates in one unit; no se where one has none. Satterthwaite's degrees of freedom; 0 where
    those of one are not known. ``n``: the smallest."""
    mean, n = math.fsum(task.or_zero for task in tasks) / len(tasks), min(task.n for task in tasks)
    parts = [(task.se, task.df, task.skewness) for task in tasks]
    if any(se is None for se, _, _ in parts):
        return Estimate(mean, n=n)
    total = math.fsum((se or 0.0) ** 2 for se, *_ in parts)
    if total == 0.0:
        return Estimate(mean, 0.0, math.fsum(df for _, df, _ in parts), n=n)
    df = satterthwaite([((se or 0.0) ** 2, df) for se, df, _ in parts]) if all(part[1] > 0 for part in parts) else 0.0
    third = math.fsum(s * (se or 0.0) ** 3 for se, _, s in parts)
    return Estimate(mean, math.sqrt(total) / len(tasks), df, third / total**1.5, n)


def welch_difference(a: Sequence[float], b: Sequence[float], shared: tuple[float, float] = (0.0, 1.0)) -> Estimate:
    """Mean of a minus mean of b, degrees of freedom by Satterthwaite; its `p` is that of Welch (1947). ``n``: values of
    the smaller sample.

    ``shared``: variance, and its degrees of freedom, of an error of the difference that is not in the values.
    """
    n = min(len(a), len(b))
    if not n:
        return Estimate()
    difference = math.fsum(a) / len(a) - math.fsum(b) / len(b)
    if n < 2:
        return Estimate(difference, n=n)
    va, vb = _variance(a) / len(a), _variance(b) / len(b)
    total = va + vb + shared[0]
    if total == 0.0:
        return Estimate(difference, 0.0, float(len(a) + len(b) - 2), n=n)
    df = satterthwaite([(va, len(a) - 1.0), (vb, len(b) - 1.0), shared])
    return Estimate(difference, math.sqrt(total), df, n=n)


def skewed_difference(a: Sequence[float], b: Sequence[float], shared: tuple[float, float] = (0.0, 1.0)) -> Estimate:
    """`welch_difference` with the skewness of the difference: what `one_sided` and `interval` correct for.

    The third moment of a mean of n values is that of the values / n². The sample's own (unbiased, but divided by an se
    that the same tail has inflated) shows half of a strong skewness at n = 10 and two thirds at n = 20, so it is
    multiplied by 0.5 + 20 / n. The factor is calibrated: with it, gamma arms of skewness -2, 0 and 2 in any combination
    give false claims in at most 3.1% of studies at a level of 2.5%, for 10 to 24 runs an arm (`python -m bench.nulls
    level`).
    """
    difference = welch_difference(a, b, shared)
    if not difference.se:
        return difference
    return replace(difference, skewness=(_third_moment(a) - _third_moment(b)) / difference.se**3)


def holm(ps: Sequence[float]) -> list[float]:
    """p-values adjusted so that the chance of any false rejection holds (Holm 1979), in the order given."""
    adjusted, worst = [0.0] * len(ps), 0.0
    for rank, index in enumerate(sorted(range(len(ps)), key=lambda i: ps[i])):
        worst = max(worst, min(1.0, (len(ps) - rank) * ps[index]))
        adjusted[index] = worst
    return adjusted


def bh(ps: Sequence[float | None]) -> list[float | None]:
    """q-values that hold the false discovery rate (Benjamini and Hochberg 1995); None stays None and is not counted."""
    known = [i for i, p in enumerate(ps) if p is not None]
    qs: list[float | None] = [None] * len(ps)
    best = 1.0
    for rank, index in reversed(list(enumerate(sorted(known, key=lambda i: ps[i] or 0.0), 1))):
        best = min(best, (ps[index] or 0.0) * (len(known) / rank))  # so that no rounding takes q below p
        qs[index] = best
    return qs


def posterior(arms: Sequence[Estimate]) -> list[Posterior]:
    """Empirical-Bayes scores of arms that are compared: each mean shrunk towards the mean of all.

    Normal-normal model, between-arm variance by the method of moments (DerSimonian and Laird 1986), with Morris' (1983)
    corrections for few arms: the shrinkage stays below (k - 3) / (k - 1), so that arms never collapse into one, and the
    SE includes the error of the estimated shrinkage. An arm's own se is moderated by the spread of runs over all
    arms; an arm with one run uses the pooled spread. If no arm has two runs, half of the variance counts as
    luck.
    """
    (variances, dfs), k = _variances(arms), len(arms)
    means = [arm.or_zero for arm in arms]
    measured = [
        replace(arm, value=mean, se=math.sqrt(variance), df=df)
        for arm, mean, variance, df in zip(arms, means, variances, dfs, strict=True)
    ]
    if k < 2:  # nothing to shrink towards
        return [Posterior(arm, Estimate(arm.value, arm.se)) for arm in measured]
    between = between_variance(means, variances)
    grand = _weighted(means, [1.0 / (v + between) for v in variances])
    few = max(k - 3, 1)  # two or three arms shrink as little as four
    result = []
    for arm, mean, variance in zip(measured, means, variances, strict=True):
        luck = few / (few + 2) * variance / (variance + between)
        spread = (1.0 - luck * (k - 1) / k) * variance + 2.0 / few * luck**2 * (mean - grand) ** 2
        result.append(Posterior(arm, Estimate(grand + (1.0 - luck) * (mean - grand), math.sqrt(spread))))
    return result


def pooled(estimates: Sequence[Estimate]) -> list[Estimate | None]:
    """The posterior mean and SD of estimates of many programs or directives, each shrunk towards their mean; None
    if it has no SE or there is nothing to pool it with.

    Normal-normal empirical Bayes (Efron and Morris 1975): the spread of the true values is the moment estimate of
    DerSimonian and Laird (1986), the common mean is weighted by precision, and its own error is included. The SEs are
    moderated as in `posterior`: two values that happen to agree are no precise estimate.
    """
    known = [i for i, estimate in enumerate(estimates) if estimate.se]
    out: list[Estimate | None] = [None] * len(estimates)
    if len(known) < 3:
        return out
    means = [estimates[i].or_zero for i in known]
    variances, _ = _variances([estimates[i] for i in known])
    between = between_variance(means, variances)
    weights = [1.0 / (v + between) for v in variances]
    centre = _weighted(means, weights)
    for i, mean, variance in zip(known, means, variances, strict=True):
        luck = variance / (variance + between)
        spread = (1.0 - luck) * variance + luck**2 / math.fsum(weights)
        out[i] = Estimate(centre + (1.0 - luck) * (mean - centre), math.sqrt(spread))
    return out


def between_variance(means: Sequence[float], variances: Sequence[float]) -> float:
    """Between-arm variance by DerSimonian and Laird, not below 0."""
    weights = [1.0 / v for v in variances]
    centre = _weighted(means, weights)
    spread = math.fsum(w * (m - centre) ** 2 for w, m in zip(weights, means, strict=True))
    scale = math.fsum(weights) - math.fsum(w * w for w in weights) / math.fsum(weights)
    return max(0.0, (spread - (len(means) - 1)) / scale)


def ratio(gain: float | None, divisor: Estimate) -> float | None:
    """``gain`` as a multiple of another mean gain; None where that may not divide."""
    return gain / divisor.value if gain is not None and divisor.value and divisor.is_positive else None


def error_of(values: Sequence[float]) -> float:
    """Variance of the mean of the values; 0 for fewer than two, where it is unknown."""
    return _variance(values) / len(values) if len(values) > 1 else 0.0


def _variance(values: Sequence[float]) -> float:
    if min(values) == max(values):
        return 0.0  # the mean of equal values may differ from them in its last bit
    mean = math.fsum(values) / len(values)
    return math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1)


def _third_moment(values: Sequence[float]) -> float:
    """Of the error of the mean of the values, see `skewed_difference`; 0 below three values."""
    n = len(values)
    if n < 3:
        return 0.0
    mean = math.fsum(values) / n
    moment = n / ((n - 1) * (n - 2)) * math.fsum((value - mean) ** 3 for value in values)
    return (0.5 + 20.0 / max(n, LEAST_RUNS)) * moment / n**2


def _weighted(values: Sequence[float], weights: Sequence[float]) -> float:
    return math.fsum(v * w for v, w in zip(values, weights, strict=True)) / math.fsum(weights)


def moderated(spreads: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """(variance, its degrees of freedom) of each arm, from (degrees of freedom, variance) of each: its own mixed with
    that pooled over all others, which counts for POOLED_DF degrees of freedom or their own number."""
    total, squares = math.fsum(df for df, _ in spreads), math.fsum(df * variance for df, variance in spreads)
    mixed = []
    for df, variance in spreads:
        others = min(POOLED_DF, total - df)
        if others > 0.0:
            rest = max(squares - df * variance, 0.0) / (total - df)
            variance, df = (others * rest + df * variance) / (others + df), others + df
        mixed.append((variance, df))
    return mixed


def _variances(estimates: Sequence[Estimate]) -> tuple[list[float], list[float]]:
    """(variances of means, their degrees of freedom), `moderated`; variances are always positive."""
    spreads = [
        (e.df, (e.df + 1) * e.se * e.se) if e.se is not None and math.isfinite(e.se) and e.df > 0 else (0.0, 0.0)
        for e in estimates
    ]
    means = [e.or_zero for e in estimates]
    tiny = max((abs(m) for m in means), default=0.0) ** 2 * 1e-12 + 1e-24
    if not any(df for df, _ in spreads):
        half = _variance(means) / 2.0 if len(means) > 1 else 0.0
        return [max(half, tiny)] * len(means), [0.0] * len(means)
    mixed = moderated(spreads)
    variances = [max(v / (e.df + 1), tiny) for (v, _), e in zip(mixed, estimates, strict=True)]
    return variances, [df for _, df in mixed]


def shared_error(baseline: Sequence[float], touched_a: float, touched_b: float) -> tuple[float, float]:
    """Variance, and its degrees of freedom, of the baseline's error in the difference of two arms.

    Gains are relative to the mean of ``baseline``, except for runs that end at the untouched source and gain exactly 0.
    If two arms differ in their share of other runs (``touched``), the error of that mean does not cancel.
    """
    n = len(baseline)
    return ((touched_a - touched_b) ** 2 * _variance(baseline) / n, n - 1.0) if n > 1 else (0.0, 1.0)
