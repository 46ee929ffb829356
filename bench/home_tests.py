"""The error budget of a project of strangers: proposals tested one after the other by the product's own test.

python -m bench.home_tests [PROPOSALS [PROJECTS]]      default: 10,000 proposals in each of 20 projects

Fixed before it ran: laws of the noise of a paired difference (in its standard deviations), shares of proposals that
are true gains, their size. A proposal without gain has a mean of exactly 0, the hardest case that is still false. A
flood is a project without any true gain. Printed for each: false merges for 1,000 merged, the share of true gains that
were merged, pairs for each proposal. Intervals are those of shares (Clopper and Pearson) over all projects.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from arena.home.e_values import HOPE, LEAST_PAIRS, MOST_PAIRS, PRIOR, level
from bench.common import figure, share_interval

Floats = NDArray[np.float64]
Law = Callable[[np.random.Generator, tuple[int, int]], Floats]
PROPOSALS, PROJECTS, SEED = 10_000, 20, 20261124
SHARES = (0.0, 0.02, 0.1, 0.5)  # of proposals with a true gain
SIZES = (1.0, 2.0, 4.0)  # of a true gain, in standard deviations of a difference


def _rare_failure(rng: np.random.Generator, shape: tuple[int, int]) -> Floats:
    """One pair in fifty loses ten standard deviations, and the others make up for it: mean 0."""
    failed = rng.random(shape) < 0.02
    return np.where(failed, -10.0, 10 * 0.02 / 0.98) + rng.standard_normal(shape)


LAWS: dict[str, Law] = {
    "normal": lambda rng, shape: rng.standard_normal(shape),
    "heavy tails (t, 3 degrees)": lambda rng, shape: rng.standard_t(3, shape) / math.sqrt(3),
    "skewed, long tail of gains": lambda rng, shape: rng.standard_exponential(shape) - 1,
    "skewed, long tail of losses": lambda rng, shape: 1 - rng.standard_exponential(shape),
    "one pair in 50 fails": _rare_failure,
}


@dataclass(frozen=True)
class Courses:
    """For each proposal [m]: log e after each pair [m, n], and its projection on the last pair."""

    log_e: Floats
    projected: Floats

    @classmethod
    def of(cls, differences: Floats) -> Courses:
        n = np.arange(1, MOST_PAIRS + 1)
        mean = np.cumsum(differences, 1) / n
        squares = np.maximum(np.cumsum(differences**2, 1) - n * mean**2, 1e-12)
        variance = squares / np.maximum(n - 1, 1)
        hoped = mean + HOPE * np.sqrt(variance / n)
        last = np.full_like(mean, MOST_PAIRS)
        return cls(_log_e(n + 0.0 * mean, mean, squares), _log_e(last, hoped, variance * (MOST_PAIRS - 1)))

    def play(self, proposal: int, at: float) -> tuple[bool, int]:
        """Whether it is merged, and after how many pairs its test ends: `e_values.judge`, for a whole course."""
        bound = math.log(1 / at)
        crossed = self.log_e[proposal] >= bound
        ends = crossed | (self.projected[proposal] < bound) & (np.arange(1, MOST_PAIRS + 1) >= LEAST_PAIRS)
        ends[-1] = True
        last = int(np.argmax(ends))
        return bool(crossed[last]), last + 1


def _log_e(n: Floats, mean: Floats, squares: Floats) -> Floats:
    k, r = PRIOR / (n + PRIOR), n * mean**2 / squares
    value = 0.5 * np.log(k) + 0.5 * n * (np.log1p(r) - np.log1p(k * r))
    return np.where((mean > 0) & (n > 1), value, 0.0)


def project(law: Law, true_share: float, size: float, proposals: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """False merges, true merges, true gains, pairs of one project."""
    true = rng.random(proposals) < true_share
    courses = Courses.of(law(rng, (proposals, MOST_PAIRS)) + np.where(true, size, 0.0)[:, None])
    merged, false, pairs = 0, 0, 0
    for t in range(proposals):
        crossed, spent = courses.play(t, level(t + 1, merged))
        merged += crossed
        false += crossed and not true[t]
        pairs += spent
    return np.array([false, merged - false, int(true.sum()), pairs])


def main() -> None:
    proposals = int(sys.argv[1]) if sys.argv[1:] else PROPOSALS
    projects = int(sys.argv[2]) if sys.argv[2:] else PROJECTS
    rng = np.random.default_rng(SEED)
    figure("budget", f"{projects} projects of {proposals} proposals each; at most {MOST_PAIRS} pairs a proposal")
    for name, law in LAWS.items():
        for true_share in SHARES:
            for size in SIZES if true_share else (0.0,):
                counts = np.sum([project(law, true_share, size, proposals, rng) for _ in range(projects)], 0)
                false, right, true, pairs = map(int, counts)
                low, high = share_interval(false, max(1, false + right))
                power = f"merged {right / true:.3f} of the true gains; " if true else ""
                figure(
                    f"{name}, {true_share:.0%} gain {size:g} SD",
                    f"false {false} of {false + right} merged, {1000 * false / max(1, false + right):.2f} in 1,000 "
                    f"[{1000 * low:.2f}, {1000 * high:.2f}]; {power}{pairs / (projects * proposals):.1f} pairs each",
                )


if __name__ == "__main__":
    main()
