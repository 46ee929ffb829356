"""Statistical power: the runs needed to detect a difference, and the smallest difference that given runs detect.

The test is Welch's, one-sided. The test of the champion's claim is also corrected for skewness, which costs power with
few runs (`python -m bench.nulls level`: .71 for .78 at 10 runs a side, .79 for .84 at 10 and 14, .985 for .987 at
20 and 24, for a difference of 1.3 SD). Welch's power is exact for normal runs: given the share B
of the squares that one side contributes (a Beta variable), the statistic is a noncentral t on all degrees of freedom,
and Satterthwaite's critical value a function of B; the mean over B is taken at 64 of its quantiles. The SD is
uncertain, so it is reported with its interval. It is the SD between runs: with hidden rows drawn for each verification
it contains their noise; where all runs are measured on the same rows, the power is that of a difference on these rows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

POWER, LEVEL = 0.8, 0.025
MOST_RUNS = 1_000_000
POINTS = 64
CLEAR = 300.0  # standard errors beyond which the power is 1


@dataclass(frozen=True)
class RunSample:
    """One side of a comparison: SD between runs (task's unit) and number of runs."""

    sd: float
    n: int


def power(difference: float, a: RunSample, b: RunSample, level: float = LEVEL) -> float:
    """Probability that the one-sided test at ``level`` detects a true ``difference``; 0 without a test."""
    import numpy as np
    from scipy.special import betaincinv, nctdtr, stdtrit

    if min(a.n, b.n) < 2:
        return 0.0
    k, m = a.n - 1, b.n - 1
    se = math.sqrt(a.sd**2 / a.n + b.sd**2 / b.n)
    if se == 0.0 or difference / se > CLEAR:
        return 1.0 if difference > 0 else 0.0
    share = betaincinv(k / 2, m / 2, (np.arange(POINTS) + 0.5) / POINTS)
    va, vb = a.sd**2 / a.n / k * share, b.sd**2 / b.n / m * (1.0 - share)  # of the squared se, per unit of chi-square
    df = (va + vb) ** 2 / (va**2 / k + vb**2 / m)
    critical = stdtrit(df, 1.0 - level) * np.sqrt((k + m) * (va + vb)) / se
    return float(np.mean(1.0 - nctdtr(k + m, difference / se, critical)))


def runs_needed(difference: float, sd: float, level: float = LEVEL) -> int | None:
    """Runs of each of two programs needed to detect ``difference``; None if a million each are too few."""
    if difference <= 0:
        return None
    least, most = 2, 2
    while power(difference, RunSample(sd, most), RunSample(sd, most), level) < POWER:
        least, most = most + 1, most * 2
        if most > MOST_RUNS:
            return None
    while least < most:
        middle = (least + most) // 2
        if power(difference, RunSample(sd, middle), RunSample(sd, middle), level) >= POWER:
            most = middle
        else:
            least = middle + 1
    return most


def detectable(a: RunSample, b: RunSample, level: float = LEVEL) -> float | None:
    """The smallest true difference that these runs detect with POWER; None if a side has fewer than two runs."""
    if min(a.n, b.n) < 2:
        return None
    low, high = 0.0, math.sqrt(a.sd**2 / a.n + b.sd**2 / b.n)
    if high == 0.0:
        return 0.0
    while power(high, a, b, level) < POWER:
        low, high = high, high * 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if power(middle, a, b, level) >= POWER else (middle, high)
    return high
