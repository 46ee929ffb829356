"""What a contest's close can detect, computed before the contest opens: runs until a leader of a given size is named.

Simulated where it is hardest: one entry gains ``ratio`` times as much as all others, who gain the same. Contests whose
entries differ more need fewer runs. Runs are normal with the stated SD; the tests and looks are those of the race.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import fmean

from analysis.wording import duration, many
from arena.contest.race import MOST_LEADERS, level_of, looks_until
from arena.contest.stored import BoardColumns

RATIO, POWER, NOISE = 1.3, 0.8, 0.33
REPLICATES, SEED = 400, 1
RATIOS = (RATIO, 1.5, 1.75, 2.0, 2.5, 3.0, 4.0, 5.0)
LEAST_FREEDOM = 10  # degrees, of a measured SD
SIZES = (8, 12, 16, 20, 24, 32, 40, 48, 56, 64, 72, 80, 96, 112, 128, 160, 192, 256)


@dataclass(frozen=True)
class ClosePlan:
    """``runs``: most confirming runs of an entry; ``power``: share of simulated closes that name the entry that gains
    ``ratio`` times as much as the others; ``noise``: SD of a run, as a share of the others' gain."""

    runs: int
    power: float
    noise: float
    leaders: int = MOST_LEADERS
    ratio: float = RATIO

    def sentence(self, source: str, run_seconds: float, workers: int = 1) -> str:
        """``run_seconds``: device-seconds of one run, verification included, on all tasks; ``workers``: runs at a
        time."""
        leaders = many(self.leaders, "leader")
        most = (self.leaders + 2) * self.runs * run_seconds
        return (
            f"each leader gets up to {many(self.runs, 'fresh run')}; a leader that is significantly below "
            f"another one gets no more. An entry that gains {self.ratio:g} times as much as all others is named in "
            f"{self.power:.0%} of simulated closes with {leaders}. The simulation assumes that the "
            f"gains of one entry's runs have a standard deviation of {self.noise:.0%} of its average gain ({source}). "
            f"The close takes at most {duration(most)} of device time ({leaders} and stock twice), usually much less: "
            f"on an idle machine about {duration(most / workers)} by the clock with {many(workers, 'worker')}"
        )


def plan_close(noise: float, runs: int | None = None, entries: int | None = None) -> ClosePlan:
    """The plan with ``runs``, or with the fewest that name the best entry with 80% power; the largest size if none
    does. ``entries``: how many are expected; by default there are as many leaders as a close takes."""
    leaders = min(MOST_LEADERS, max(entries or MOST_LEADERS, 2))
    for size in (runs,) if runs else SIZES:
        power = power_of(noise, size, leaders=leaders)
        if power >= POWER:
            break
    return ClosePlan(size, power, noise, leaders)


def measured_plan(rows: Sequence[BoardColumns], runs: int, leaders: int) -> str:
    """What the noise of the board's runs makes of a close with ``runs`` runs of a leader, in words; empty as long as
    too few runs are measured, or nothing gains. ``rows``: the board."""
    sampled = [(row["se"], row["n"]) for row in rows if row["se"] is not None]
    freedom = sum(n - 1 for _, n in sampled)
    gain = fmean(row["gain"] for row in rows) if rows else 0.0
    if freedom < LEAST_FREEDOM or gain <= 0:
        return ""
    noise = math.sqrt(sum(se * se * n * (n - 1) for se, n in sampled) / freedom) / gain
    near = round(round(noise / 0.05) * 0.05, 2)  # is simulated once, although the noise changes with every run
    leaders = min(MOST_LEADERS, max(leaders, 2))
    usual = power_of(near, runs, RATIO, leaders)
    said = (
        f"In the {many(sum(row['n'] for row in rows), 'run')} of the board so far, the SD between the runs of an entry "
        f"is {noise:.0%} of the average gain. With this noise, {many(leaders, 'leader')} and up to "
        f"{many(runs, 'fresh run')} of each, an entry that gains {RATIO:g} times as much as all others is named in "
        f"{usual:.0%} of simulated closes (init assumed a noise before there were runs)"
    )
    if usual >= POWER:
        return f"{said}."
    enough = next((ratio for ratio in RATIOS if power_of(near, runs, ratio, leaders) >= POWER), None)
    return (
        f"{said}; {f'one that gains {enough:g} times as much' if enough else 'none that the simulation tries'} in "
        f"{POWER:.0%} or more. Leaders that are closer together probably share the win."
    )


@lru_cache(maxsize=256)  # the host's page shows it
def power_of(noise: float, runs: int, ratio: float = RATIO, leaders: int = MOST_LEADERS) -> float:
    """Share of simulated closes in which the best entry is separated from every other by the last look."""
    import numpy as np
    from scipy.special import stdtrit

    looks = looks_until(runs)
    level = level_of(leaders, looks)
    rng = np.random.default_rng([SEED, runs])
    drawn = noise * rng.standard_normal((REPLICATES, leaders, runs))
    drawn[:, 0] += ratio - 1.0
    apart = np.zeros((REPLICATES, leaders - 1), bool)
    for look in looks:
        means, variances = drawn[:, :, :look].mean(axis=2), drawn[:, :, :look].var(axis=2, ddof=1) / look
        both = variances[:, :1] + variances[:, 1:]
        df = (look - 1) * both**2 / (variances[:, :1] ** 2 + variances[:, 1:] ** 2)
        apart |= (means[:, :1] - means[:, 1:]) / np.sqrt(both) > stdtrit(df, 1.0 - level)
    return float(apart.all(axis=1).mean())
