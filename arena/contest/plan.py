"""What a contest's close can detect, computed before the contest opens: runs until a leader of a given size is named.

Simulated where it is hardest: one entry gains ``ratio`` times as much as all others, who gain the same. Contests whose
entries differ more need fewer runs. Runs are normal with the stated SD; the tests and looks are those of the race.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import fmean, median
from typing import TYPE_CHECKING

from analysis.wording import many
from arena.contest.ranking.race import MOST_LEADERS, level_of, looks_until
from arena.contest.stored import MeasuredRow

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Draws = NDArray[np.float64]
    Flags = NDArray[np.bool_]

RATIO, POWER, NOISE = 1.3, 0.8, 0.33
REPLICATES, SEED = 400, 1
HARDLY = 0.05  # power, below which a close is as good as undecided
LEAST_FREEDOM = 10  # degrees, of a measured SD
SIZES = (8, 12, 16, 20, 24, 32, 40, 48, 56, 64, 72, 80, 96, 112, 128, 160, 192, 256)


@dataclass(frozen=True)
class ClosePlan:
    """``runs``: most confirming runs of an entry; ``power``: share of simulated closes that name the entry that gains
    ``ratio`` times as much as the others; ``noise``: SD of a run, as a share of the others' gain; ``usual``: median of
    all runs of a simulated close."""

    runs: int
    power: float
    noise: float
    leaders: int = MOST_LEADERS
    ratio: float = RATIO
    usual: int = 0

    def seconds(self, run_seconds: float) -> tuple[float, float]:
        """Device-seconds of a usual close, and at most."""
        return self.usual * run_seconds, (self.leaders + 2) * self.runs * run_seconds

    def warning(self, entries: int | None = None) -> str:
        """That the power is low, and what to change; empty if it is not. ``entries``: how many are expected."""
        if self.power >= POWER:
            return ""
        planned = plan_close(self.noise, None, entries)
        least = f"the least that names it in {POWER:.0%} is {planned.runs}: leave confirm_runs out"
        if planned.power < POWER:
            least = f"not even {planned.runs} runs are enough: make a run less noisy with a larger --run-budget"
        few = "too few unless one is far ahead" if self.power < HARDLY else "few, so the close has low power"
        return (
            f"with {many(self.runs, 'run')} of a leader, which are {few}, an entry that gains {self.ratio:g} times as "
            f"much as all others is named in {self.power:.0%} of simulated closes (else several share the win, or none "
            f"is shown to be better than stock); {least}"
        )


def plan_close(noise: float, runs: int | None = None, entries: int | None = None) -> ClosePlan:
    """The plan with ``runs``, or with the fewest that name the best entry with 80% power; the largest size if none
    does. ``entries``: how many are expected; by default there are as many leaders as a close takes."""
    leaders = min(MOST_LEADERS, max(entries or MOST_LEADERS, 2))
    for size in (runs,) if runs else SIZES:
        power, usual = closes(noise, size, leaders=leaders)
        if power >= POWER:
            break
    return ClosePlan(size, power, noise, leaders, usual=usual)


def typical_sd(rows: Sequence[MeasuredRow]) -> tuple[float, int]:
    """SD between the runs of an entry, and its degrees of freedom: the root of the median of the variances of all rows
    of the board, so that a few entries whose runs diverge do not change it. Each variance is divided by the median of a
    chi-squared over its degrees of freedom (Wilson and Hilferty), because few runs tend to look less noisy than they
    are."""
    sampled = [(row["se"] ** 2 * row["n"], row["n"] - 1) for row in rows if row["se"] is not None and row["n"] > 1]
    variances = [variance / (1 - 2 / (9 * freedom)) ** 3 for variance, freedom in sampled]
    return math.sqrt(median(variances)) if variances else math.nan, sum(freedom for _, freedom in sampled)


def measured_power(rows: Sequence[MeasuredRow], runs: int, leaders: int) -> float | None:
    """Share of closes, simulated with the noise of the board's runs, that name an entry that gains RATIO times as much
    as ``leaders`` - 1 others; None before the noise is known. ``runs``: most of a leader."""
    sd, freedom = typical_sd(rows)
    gain = fmean(row["gain"] for row in rows) if rows else 0.0
    if freedom < LEAST_FREEDOM or gain <= 0:
        return None
    near = round(round(sd / gain / 0.05) * 0.05, 2)  # is simulated once, although the noise changes with every run
    return closes(near, runs, RATIO, min(MOST_LEADERS, max(leaders, 2)))[0]


@lru_cache(maxsize=256)  # the host's page shows it
def closes(noise: float, runs: int, ratio: float = RATIO, leaders: int = MOST_LEADERS) -> tuple[float, int]:
    """Of simulated closes: the share in which the best entry is separated from every other by the last look, and the
    median of all runs, where stock gains as much as the other entries. At a look, the entries that are below the one
    with the highest average, or below stock, leave, as in `race.follow`."""
    import numpy as np

    looks = looks_until(runs)
    level = level_of(leaders, looks)
    drawn = 1.0 + noise * np.random.default_rng([SEED, runs]).standard_normal((REPLICATES, leaders, runs))
    drawn[:, 0] += ratio - 1.0
    stock = 1.0 + noise * np.random.default_rng([SEED, runs, 2]).standard_normal((REPLICATES, 1, 2 * runs))
    apart = np.zeros((REPLICATES, leaders - 1), bool)
    still, above_stock = np.ones((REPLICATES, leaders), bool), np.zeros((REPLICATES, leaders), bool)
    going, spent, before = np.ones(REPLICATES, bool), np.zeros(REPLICATES), 0
    for look in looks:
        stocks = 2 * ~(above_stock | ~still).all(axis=1)
        spent += going * (look - before) * (still.sum(axis=1) + stocks)
        (means, variances), (mean, variance) = _moments(drawn, look), _moments(stock, 2 * look)
        apart |= _above(means[:, :1], variances[:, :1], look, means[:, 1:], variances[:, 1:], look, level)
        best = np.where(still, means, -np.inf).argmax(axis=1)[:, None]
        highest, spread = (np.take_along_axis(values, best, axis=1) for values in (means, variances))
        below = _above(highest, spread, look, means, variances, look, level)
        below |= _above(mean, variance, 2 * look, means, variances, look, level)
        above_stock |= _above(means, variances, look, mean, variance, 2 * look, level)
        still &= ~below
        going &= (still.sum(axis=1) > 1) | (still & ~above_stock).any(axis=1)
        before = look
    return float(apart.all(axis=1).mean()), round(float(np.median(spent)))


def _moments(drawn: Draws, look: int) -> tuple[Draws, Draws]:
    """Mean of the first ``look`` runs of each entry, and the variance of that mean."""
    return drawn[:, :, :look].mean(axis=2), drawn[:, :, :look].var(axis=2, ddof=1) / look


def _above(mean: Draws, variance: Draws, n: int, other: Draws, others: Draws, m: int, level: float) -> Flags:
    """Whether a mean of ``n`` runs is significantly above another one of ``m`` runs (Welch, one-sided)."""
    import numpy as np
    from scipy.special import stdtrit

    both = variance + others
    df = both**2 / (variance**2 / (n - 1) + others**2 / (m - 1))
    above: Flags = (mean - other) / np.sqrt(both) > stdtrit(df, 1.0 - level)
    return above
