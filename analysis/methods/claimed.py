"""The weakest method: the runs' own claims, with the share that noise alone would show.

A run keeps what looks better, so the best of n equal sources claims a gain although nothing has an effect: the expected
maximum of n normal draws minus the first. `noise_share` is this gain, for the SD of one training as measured by the
shared baselines, divided by the claim. No interval, no q: both would need the measurements that were not kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from analysis.credit import ClaimedCredit
from analysis.method_input import MethodInput
from analysis.scope import Scope
from analysis.statistics import mean_interval
from programs.ids import content_id

MOST_DRAWS = 1024  # sources of a run; more of them change the expected maximum by only .01 SD


@dataclass(frozen=True)
class TrainingNoise:
    sd: float | None


@dataclass(frozen=True)
class ClaimedSteps:
    """The claims for one set of changes, or of one program's runs; ``noise``: the share of luck, in SDs."""

    label: str
    deltas: list[float]
    runs: int
    noise: float | None


@dataclass(frozen=True)
class ClaimedRuns(ClaimedSteps):
    program_id: str


def claimed_credits(scope: Scope) -> list[ClaimedCredit]:
    """A row per kept change, the largest claim first, then a row per program for its runs from start to end."""
    best = largest()
    sd = scope.rows("noise", TrainingNoise)[0].sd
    steps = _credits(scope, scope.rows("claimed_steps", ClaimedSteps, steps=list(steps_of_noise())), sd)
    return steps + _credits(scope, scope.rows("claimed_runs", ClaimedRuns, best=list(best)), sd)


def _credits(scope: Scope, rows: Sequence[ClaimedSteps], sd: float | None) -> list[ClaimedCredit]:
    out = []
    for row in rows:
        label, mean = row.label, mean_interval(row.deltas)
        claim = mean.mean or 0.0
        chance = None if sd is None or row.noise is None else sd * row.noise
        whole = isinstance(row, ClaimedRuns)
        program = row.program_id if isinstance(row, ClaimedRuns) else None
        out.append(ClaimedCredit(
            credit_id=content_id("c", "claimed", scope.task, program or label), task=scope.task, estimate=claim,
            se=mean.se, low=None, high=None, n=mean.n, q=None, design="observational", unit=scope.unit,
            label=f"{label}: whole runs" if whole else label, program_id=program, runs=row.runs,
            noise_share=None if chance is None or claim <= 0.0 else min(1.0, chance / claim),
        ))  # fmt: skip
    return sorted(out, key=lambda c: (-c.estimate, c.credit_id))


@lru_cache(maxsize=1)
def largest() -> tuple[float, ...]:
    """Expected largest of 1, 2, … MOST_DRAWS standard normal draws, by integration."""
    import numpy as np
    from scipy.special import log_ndtr

    x = np.linspace(-9.0, 9.0, 3601)
    below, n = log_ndtr(x), np.arange(1, MOST_DRAWS + 1)
    density = np.exp(-0.5 * x * x) / np.sqrt(2.0 * np.pi)
    means = [float(np.trapezoid(x * k * density * np.exp((k - 1) * below), x)) for k in n]
    return tuple(means)


@lru_cache(maxsize=1)
def steps_of_noise() -> tuple[float, ...]:
    """Entry j - 1: by how much a new best of j + 1 normal draws beats the best of the j before, on average.

    The maximum of j + 1 is the last draw with probability 1 / (j + 1), so the step is (j + 1) times its growth.
    """
    best = largest()
    return tuple((j + 1) * (best[j] - best[j - 1]) for j in range(1, len(best)))


def make(known: MethodInput) -> list[ClaimedCredit]:
    return claimed_credits(known.scope)
