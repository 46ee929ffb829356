"""Small statistics on small samples: intervals, tests, corrections for many tests, shrinkage, ratios.

Everything takes plain sequences of floats. What cannot be known from the data (a spread of one run) is None, never 0.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

# How many degrees of freedom the spread pooled over all arms counts for against an arm's own (as limma moderates
# variances, Smyth 2004): the sd of three or four runs is off by a factor of two too often to be used alone.
POOLED_DF = 8.0


@dataclass(frozen=True)
class Mean:
    """A mean with its standard error and two-sided 95% t interval; se, low and high are None below two values."""

    mean: float | None
    se: float | None
    n: int
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Posterior:
    """An arm's score: as measured (mean, se, n) and shrunk towards the mean of all arms (shrunk_mean, shrunk_se)."""

    mean: float
    se: float
    n: int
    shrunk_mean: float
    shrunk_se: float


@dataclass(frozen=True)
class Ratio:
    """A ratio of two means and its one-sided lower bound; lower is None where the data allow any ratio."""

    ratio: float | None
    lower: float | None
    level: float
    n_top: int
    n_bottom: int


def t_quantile(p: float, df: float) -> float:
    """The p-quantile of Student's t with df degrees of freedom."""
    from scipy.special import stdtrit

    return float(stdtrit(df, p))


def t_test(estimate: float, se: float | None, df: float) -> float | None:
    """Two-sided p of estimate against 0; None where there is no se, 1 where estimate and se are both 0."""
    from scipy.special import stdtr

    if se is None or df <= 0:
        return None
    if se == 0.0:
        return 1.0 if estimate == 0.0 else 0.0
    return float(2.0 * stdtr(df, -abs(estimate / se)))


def interval(estimate: float, se: float | None, df: float) -> tuple[float | None, float | None]:
    """Two-sided 95% t interval; (None, None) where there is no se."""
    if se is None or df <= 0:
        return None, None
    half = t_quantile(0.975, df) * se
    return estimate - half, estimate + half


def mean_interval(values: Sequence[float]) -> Mean:
    """Mean, standard error over the values and 95% t interval."""
    n = len(values)
    if n == 0:
        return Mean(None, None, 0, None, None)
    mean = math.fsum(values) / n
    if n == 1:
        return Mean(mean, None, 1, None, None)
    se = math.sqrt(_variance(values) / n)
    low, high = interval(mean, se, n - 1)
    return Mean(mean, se, n, low, high)


def clustered_mean(sums: Sequence[float], counts: Sequence[int]) -> tuple[float, float | None]:
    """(mean of all values, its se), given sum and count of the values of each cluster.

    The se is robust to dependence within a cluster (CR1, Liang and Zeger 1986); None below two clusters.
    """
    return clustered_ratio(sums, counts)


def clustered_ratio(tops: Sequence[float], bottoms: Sequence[float]) -> tuple[float, float | None]:
    """(sum of tops / sum of bottoms, its se), one entry of each per cluster; by linearisation of the ratio.

    The sum of bottoms must be positive; the se is None below two clusters.
    """
    total, g = math.fsum(bottoms), len(tops)
    ratio = math.fsum(tops) / total
    if g < 2:
        return ratio, None
    rest = math.fsum((top - ratio * bottom) ** 2 for top, bottom in zip(tops, bottoms, strict=True))
    return ratio, math.sqrt(g / (g - 1) * rest) / total


def welch(a: Sequence[float], b: Sequence[float]) -> float | None:
    """Two-sided p of equal means with unequal variances (Welch 1947); None where a side has fewer than two values."""
    difference, se, df = welch_difference(a, b)
    return None if difference is None else t_test(difference, se, df)


def welch_difference(
    a: Sequence[float], b: Sequence[float], shared: tuple[float, float] = (0.0, 1.0)
) -> tuple[float | None, float | None, float]:
    """(mean of a minus mean of b, its se, Satterthwaite's degrees of freedom).

    ``shared``: variance, and its degrees of freedom, of an error of the difference that the values do not show.
    """
    if not a or not b:
        return None, None, 0.0
    difference = math.fsum(a) / len(a) - math.fsum(b) / len(b)
    if len(a) < 2 or len(b) < 2:
        return difference, None, 0.0
    va, vb = _variance(a) / len(a), _variance(b) / len(b)
    total = va + vb + shared[0]
    if total == 0.0:
        return difference, 0.0, float(len(a) + len(b) - 2)
    df = total**2 / (va**2 / (len(a) - 1) + vb**2 / (len(b) - 1) + shared[0] ** 2 / shared[1])
    return difference, math.sqrt(total), df


def holm(ps: Sequence[float]) -> list[float]:
    """p-values adjusted so that the chance of any false rejection holds (Holm 1979), in the order given."""
    adjusted, worst = [0.0] * len(ps), 0.0
    for rank, index in enumerate(sorted(range(len(ps)), key=lambda i: ps[i])):
        worst = max(worst, min(1.0, (len(ps) - rank) * ps[index]))
        adjusted[index] = worst
    return adjusted


def bh(ps: Sequence[float | None]) -> list[float | None]:
    """q-values that hold the false discovery rate (Benjamini and Hochberg 1995); None stays None and counts not."""
    known = [i for i, p in enumerate(ps) if p is not None]
    qs: list[float | None] = [None] * len(ps)
    best = 1.0
    for rank, index in reversed(list(enumerate(sorted(known, key=lambda i: ps[i] or 0.0), 1))):
        best = min(best, (ps[index] or 0.0) * len(known) / rank)
        qs[index] = best
    return qs


def posterior(means: Sequence[float], ses: Sequence[float | None], ns: Sequence[int]) -> list[Posterior]:
    """Empirical-Bayes scores of arms that are compared: each mean shrunk towards the mean of all.

    Normal-normal model, between-arm variance by the method of moments (DerSimonian and Laird 1986), with Morris' (1983)
    corrections for having few arms: the shrinkage stays below (k - 3) / (k - 1), so that arms never collapse into one,
    and the se owns up to the shrinkage being estimated. An arm's own se is moderated by the spread of runs over all
    arms; one run alone has theirs. Where no arm has two runs nothing tells luck from merit: half counts as luck.
    """
    if not means:
        return []
    variances, k = _moderated(means, ses, ns), len(means)
    if k == 1:  # nothing to shrink towards
        return [Posterior(means[0], math.sqrt(variances[0]), ns[0], means[0], math.sqrt(variances[0]))]
    between = between_variance(means, variances)
    grand = _weighted(means, [1.0 / (v + between) for v in variances])
    few = max(k - 3, 1)  # two or three arms shrink as little as four
    result = []
    for mean, variance, n in zip(means, variances, ns, strict=True):
        luck = few / (few + 2) * variance / (variance + between)
        spread = (1.0 - luck * (k - 1) / k) * variance + 2.0 / few * luck**2 * (mean - grand) ** 2
        shrunk = grand + (1.0 - luck) * (mean - grand)
        result.append(Posterior(mean, math.sqrt(variance), n, shrunk, math.sqrt(spread)))
    return result


def between_variance(means: Sequence[float], variances: Sequence[float]) -> float:
    """Between-arm variance by DerSimonian and Laird, not below 0."""
    weights = [1.0 / v for v in variances]
    centre = _weighted(means, weights)
    spread = math.fsum(w * (m - centre) ** 2 for w, m in zip(weights, means, strict=True))
    scale = math.fsum(weights) - math.fsum(w * w for w in weights) / math.fsum(weights)
    return max(0.0, (spread - (len(means) - 1)) / scale)


def ratio(
    top: Sequence[float],
    bottom: Sequence[float],
    level: float = 0.95,
    baseline: Sequence[float] = (),
    touched: tuple[float, float] = (1.0, 1.0),
) -> Ratio:
    """Mean of top over mean of bottom with a one-sided lower bound by Fieller's method (1954).

    Samples of unequal variance; Satterthwaite's degrees of freedom at the ratio found. The bound is the smallest r for
    which top minus r times bottom is not significantly above 0. lower is None where a side has fewer than two values or
    the mean of bottom is not significantly above 0 (then no ratio can be excluded).

    ``baseline``: the values whose mean the gains were taken against; its error e is in the share w of the values
    (``touched``) of each side that are not exactly 0 by construction. With v the variance of that mean, the sides'
    means have variances vx + wx²v and vy + wy²v and, since e is the same in both, the covariance wx·wy·v; so
    top minus r times bottom has the further variance (wx - r·wy)²v, with n - 1 degrees of freedom.
    """
    nothing = Ratio(None, None, level, len(top), len(bottom))
    if not top or not bottom:
        return nothing
    x, y = math.fsum(top) / len(top), math.fsum(bottom) / len(bottom)
    if y <= 0:
        return nothing
    point = Ratio(x / y, None, level, len(top), len(bottom))
    if len(top) < 2 or len(bottom) < 2:
        return point
    vx, vy = _variance(top) / len(top), _variance(bottom) / len(bottom)
    v, (wx, wy) = (_variance(baseline) / len(baseline), touched) if len(baseline) > 1 else (0.0, (0.0, 0.0))
    parts = (vx, len(top)), ((x / y) ** 2 * vy, len(bottom)), ((wx - x / y * wy) ** 2 * v, max(2, len(baseline)))
    total = math.fsum(part for part, _ in parts)
    if total == 0.0:
        return Ratio(x / y, x / y, level, len(top), len(bottom))
    t2 = t_quantile(level, total**2 / math.fsum(part**2 / (n - 1) for part, n in parts)) ** 2
    a, b, c = y * y - t2 * (vy + wy**2 * v), x * y - t2 * wx * wy * v, x * x - t2 * (vx + wx**2 * v)
    if a <= 0:
        return point
    return Ratio(x / y, (b - math.sqrt(max(0.0, b * b - a * c))) / a, level, len(top), len(bottom))


def ratio_lower_bound(champion: Sequence[float], stock: Sequence[float], level: float = 0.95) -> float:
    """The lower bound of ``ratio`` as a float: minus infinity where the data allow any ratio."""
    lower = ratio(champion, stock, level).lower
    return -math.inf if lower is None else lower


def error_of(values: Sequence[float]) -> float:
    """Variance of the mean of the values; 0 below two, where it is not known."""
    return _variance(values) / len(values) if len(values) > 1 else 0.0


def _variance(values: Sequence[float]) -> float:
    mean = math.fsum(values) / len(values)
    return math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1)


def _weighted(values: Sequence[float], weights: Sequence[float]) -> float:
    return math.fsum(v * w for v, w in zip(values, weights, strict=True)) / math.fsum(weights)


def _moderated(means: Sequence[float], ses: Sequence[float | None], ns: Sequence[int]) -> list[float]:
    """Variances of the means, each arm's own spread mixed with the pooled one; always positive."""
    own = [
        (n - 1, n * se * se) if se is not None and math.isfinite(se) and n > 1 else (0, 0.0)
        for se, n in zip(ses, ns, strict=True)
    ]
    df = sum(d for d, _ in own)
    tiny = max((abs(m) for m in means), default=0.0) ** 2 * 1e-12 + 1e-24
    if df == 0:
        half = _variance(means) / 2.0 if len(means) > 1 else 0.0
        return [max(half, tiny)] * len(means)
    pooled = math.fsum(d * v for d, v in own) / df
    return [
        max((POOLED_DF * pooled + d * v) / (POOLED_DF + d) / max(n, 1), tiny) for (d, v), n in zip(own, ns, strict=True)
    ]


def share_interval(count: int, n: int) -> tuple[float, float]:
    """Two-sided 95% interval of a share of which ``count`` of ``n`` were seen (Wilson 1927); (0, 1) for n = 0."""
    if n == 0:
        return 0.0, 1.0
    z, share = 1.959963984540054, count / n
    middle = share + z * z / (2 * n)
    half = z * math.sqrt(share * (1.0 - share) / n + z * z / (4 * n * n))
    scale = 1.0 + z * z / n
    return max(0.0, (middle - half) / scale), min(1.0, (middle + half) / scale)


def shared_error(baseline: Sequence[float], touched_a: float, touched_b: float) -> tuple[float, float]:
    """Variance, and its degrees of freedom, that the baseline's own error brings into the difference of two arms.

    Gains are taken against the mean of ``baseline``, but for runs that end at the untouched source and gain exactly 0.
    Where two arms have other shares of runs that end elsewhere (``touched``), that mean's error does not cancel.
    """
    n = len(baseline)
    return ((touched_a - touched_b) ** 2 * _variance(baseline) / n, n - 1.0) if n > 1 else (0.0, 1.0)
