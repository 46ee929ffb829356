"""Significant differences between many arms: Welch for every pair, Holm over all pairs, exactly.

Holm (1979) rejects the k smallest p-values of m, where k is the least with (m - k) p[k] ≥ ALPHA: the fixed point that
``k ← number of p with (m - k) p < ALPHA`` climbs to from 0. So the algorithm only needs the number of p below a limit.
It groups arms of similar spread and sorts each group by mean. For two groups the smallest and the largest difference of
means that meets the limit is known (Satterthwaite's degrees of freedom depend only on the share of either variance):
bisection counts the pairs outside, and only pairs between the two are computed one by one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, np.dtype[Any]]

ALPHA = 0.05
FINE = 4  # groups for each doubling of a variance
SLACK = 1e-6  # of a bound on a difference: more than the rounding error
CHUNK = 1 << 20  # pairs computed at once


@dataclass(frozen=True)
class ArmGroup:
    """Arms with the same number of runs and about the same spread, by rising mean. ``error``: variance of the mean."""

    members: Array  # indices in the caller's order
    mean: Array
    error: Array
    n: int


@dataclass(frozen=True)
class Bounds:
    """For each pair of groups: differences of means below ``least`` never meet the limit, from ``most`` always."""

    least: Array
    most: Array


def shown(means: Sequence[float], errors: Sequence[float], ns: Sequence[int]) -> tuple[list[int], list[int]]:
    """(number of significantly better arms, of worse arms) per arm, from means, variances of the mean, runs ≥ 1."""
    import numpy as np

    total = len(means) * (len(means) - 1) // 2
    groups = _groups(np.asarray(means, float), np.asarray(errors, float), np.asarray(ns))
    rejected = -1
    above, below = np.zeros(len(means), int), np.zeros(len(means), int)
    while (count := int(above.sum())) != rejected:
        rejected = count
        above, below = _count(groups, len(means), total - rejected)
    return above.tolist(), below.tolist()


def _groups(means: Array, errors: Array, ns: Array) -> list[ArmGroup]:
    """An arm with one run differs significantly from no other, so it is in no group."""
    import numpy as np

    with np.errstate(divide="ignore"):
        octave = np.floor(FINE * np.log2(errors))  # -inf if all runs are equal
    groups = []
    for n, step in {(int(n), float(step)) for n, step in zip(ns, octave, strict=True) if n > 1}:
        (members,) = np.nonzero((ns == n) & (octave == step))
        members = members[np.argsort(means[members], kind="stable")]
        groups.append(ArmGroup(members, means[members], errors[members], n))
    return groups


def _count(groups: Sequence[ArmGroup], arms: int, left: int) -> tuple[Array, Array]:
    """Each arm's number of better and of worse arms, by pairs with ``left`` × p < ALPHA."""
    import numpy as np

    above, below = np.zeros(arms, int), np.zeros(arms, int)
    if not groups:
        return above, below
    bounds = _bounds(groups, ALPHA / max(left, 1))
    reach = max(g.mean[-1] for g in groups) - min(g.mean[0] for g in groups)
    for i, j in zip(*np.nonzero(bounds.least <= reach), strict=True):
        low, high = groups[i], groups[j]  # arms of `low` that are worse than arms of `high`
        first = np.searchsorted(high.mean, low.mean + bounds.least[i, j], side="left")
        sure = np.searchsorted(high.mean, low.mean + bounds.most[i, j], side="left")
        above[low.members] += len(high.members) - sure
        below[high.members] += np.cumsum(np.bincount(sure, minlength=len(high.members) + 1))[:-1]
        for a, b in _between(first, sure):
            met = _met(low, high, a, b, left)
            np.add.at(above, low.members[a[met]], 1)
            np.add.at(below, high.members[b[met]], 1)
    return above, below


def _between(first: Array, sure: Array) -> Iterator[tuple[Array, Array]]:
    """The pairs (a, b) with first[a] ≤ b < sure[a], some at a time."""
    import numpy as np

    counts = sure - first
    ends = np.cumsum(counts)
    begin = 0
    while begin < len(counts):
        before = int(ends[begin - 1]) if begin else 0
        end = max(begin + 1, int(np.searchsorted(ends, before + CHUNK, side="right")))
        own = counts[begin:end]
        if own.any():
            a = np.repeat(np.arange(begin, end), own)
            yield a, np.arange(int(own.sum())) - np.repeat(np.cumsum(own) - own, own) + np.repeat(first[begin:end], own)
        begin = end


def _met(low: ArmGroup, high: ArmGroup, a: Array, b: Array, left: int) -> Array:
    """Which of these pairs differ significantly."""
    import numpy as np

    apart = high.mean[b] - low.mean[a]
    p = welch_p(apart, low.error[a], high.error[b], low.n - 1, high.n - 1)
    return np.asarray((apart > 0.0) & (np.minimum(1.0, left * p) < ALPHA))


def welch_p(apart: Array, va: Array, vb: Array, free_a: Array | int, free_b: Array | int) -> Array:
    """Two-sided p of Welch's t test, from the difference of two means, their variances and degrees of freedom."""
    import numpy as np
    from scipy.special import stdtr

    total = va + vb
    with np.errstate(divide="ignore", invalid="ignore"):
        df = total * total / (va * va / free_a + vb * vb / free_b)
        p = 2.0 * stdtr(df, -np.abs(apart / np.sqrt(total)))
    return np.asarray(np.where(total > 0.0, p, apart == 0.0))


def _bounds(groups: Sequence[ArmGroup], limit: float) -> Bounds:
    """Bounds for every pair of groups, widened by SLACK, so that no pair is on the wrong side of one."""
    import numpy as np

    runs = np.asarray([g.n - 1.0 for g in groups])
    small, large = (np.asarray([f(g.error) for g in groups]) for f in (np.min, np.max))
    with np.errstate(divide="ignore", invalid="ignore"):
        share_low = np.nan_to_num(small / (large[:, None] + small))  # of the second variance in the sum, at least
        share_high = np.nan_to_num(large / (small[:, None] + large), nan=1.0)  # and at most
    best = runs / (runs[:, None] + runs)  # the share at which there are most degrees of freedom
    fewest = np.minimum(_freedom(share_low, runs), _freedom(share_high, runs))
    most = _freedom(np.clip(best, share_low, share_high), runs)
    tiny = SLACK * 1e-3 * max(float(np.abs(g.mean).max()) for g in groups) + 1e-300
    near, far = _critical(most, limit * (1 + SLACK)), _critical(fewest, limit * (1 - SLACK))
    least = near * np.sqrt(small[:, None] + small) * (1 - SLACK) - tiny
    sure = far * np.sqrt(large[:, None] + large) * (1 + SLACK) + tiny
    return Bounds(np.fmax(least, 0.0), np.nan_to_num(sure, nan=math.inf, posinf=math.inf))


def _freedom(share: Array, runs: Array) -> Array:
    return 1.0 / ((1.0 - share) ** 2 / runs[:, None] + share**2 / runs)


def _critical(df: Array, limit: float) -> Array:
    """t with a two-sided p of ``limit``; NaN if the inverse is not exact (the caller then uses 0 or infinity)."""
    import numpy as np
    from scipy.special import stdtr, stdtrit

    t = -stdtrit(df, limit / 2)
    off = np.abs(2.0 * stdtr(df, -t) / limit - 1.0)
    return np.where(off < SLACK / 2, t, np.nan)
