"""Whether the interval of the rank correlation between two tasks holds the truth, and whether edits are sorted rightly.

python -m bench.transfer [REPLICATES]      default 400

Ranks: K programs with true gains on two tasks, bivariate normal with correlation RHO, sd .25 of stock's gain; runs
normal, sd .33 (stock's run-to-run sd is a third of its gain), N runs each. The truth is Spearman's correlation of those
K true gains. Shown beside: a bootstrap of the runs within program and task.

Edits: see ``edits``.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from analysis.rank_correlation import Measured, correlation, rank_correlations
from analysis.statistics import mean_interval, posterior, share_interval
from bench.common import figure

SPREAD, NOISE, RESAMPLED = 0.25, 0.33, 500
WORLDS = [(k, n, rho) for k in (5, 8, 16) for n in (4, 12) for rho in (0.0, 0.5, 0.9, 0.98)]


@dataclass(frozen=True)
class Trial:
    """One study: the truth, our interval, and the bootstrap's."""

    truth: float
    estimate: float
    observed: float
    ours: tuple[float, float]
    bootstrap: tuple[float, float]


def trial(k: int, n: int, rho: float, rng: np.random.Generator) -> Trial:
    common, own = rng.standard_normal((2, k))
    truth = 1.0 + SPREAD * np.stack([common, rho * common + np.sqrt(1.0 - rho**2) * own])
    runs = truth[:, :, None] + NOISE * rng.standard_normal((2, k, n))
    sides = [measured(runs[side]) for side in (0, 1)]
    told = correlation("a", "b", list(zip(*sides, strict=True)))
    drawn = rng.integers(n, size=(RESAMPLED, 2, k, n))
    again = np.take_along_axis(np.broadcast_to(runs, drawn.shape), drawn, axis=-1).mean(axis=-1)
    low, high = np.quantile(rank_correlations(again[:, 0], again[:, 1]), (0.025, 0.975))
    return Trial(
        float(rank_correlations(truth[:1], truth[1:])[0]), told.estimate or 0.0, told.observed or 0.0,
        (told.low or 0.0, told.high or 0.0), (float(low), float(high)),
    )  # fmt: skip


def measured(runs: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> list[Measured]:
    means = [mean_interval(own.tolist()) for own in runs]
    scored = posterior([m.mean or 0.0 for m in means], [m.se for m in means], [m.n for m in means])
    return [Measured(score.mean, score.se, str(i)) for i, score in enumerate(scored)]


def ranks(count: int) -> Iterator[tuple[tuple[int, int, float], list[Trial]]]:
    for number, world in enumerate(WORLDS):
        rng = np.random.Generator(np.random.PCG64(number + 1))
        yield world, [trial(*world, rng) for _ in range(count)]


def share(held: list[bool]) -> str:
    low, high = share_interval(sum(held), len(held))
    return f"{sum(held) / len(held):.3f} [{low:.3f}, {high:.3f}]"


def covers(interval: tuple[float, float], truth: float) -> bool:
    return interval[0] - 1e-9 <= truth <= interval[1] + 1e-9


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 400
    began, all_ours, all_theirs = time.process_time(), [], []
    for (k, n, rho), trials in ranks(count):
        ours = [covers(t.ours, t.truth) for t in trials]
        theirs = [covers(t.bootstrap, t.truth) for t in trials]
        all_ours, all_theirs = all_ours + ours, all_theirs + theirs
        wide = [np.mean([high - low for low, high in found]) for found in
                ([t.ours for t in trials], [t.bootstrap for t in trials])]  # fmt: skip
        off = [np.mean([value - t.truth for t, value in found]) for found in
               ([(t, t.estimate) for t in trials], [(t, t.observed) for t in trials])]  # fmt: skip
        figure(f"ranks_{k}_programs_{n}_runs_rho_{rho:g}", f"held {share(ours)}, bootstrap {share(theirs)}; width "
               f"{wide[0]:.2f}, {wide[1]:.2f}; bias {off[0]:+.3f}, of the means as measured {off[1]:+.3f}")  # fmt: skip
    figure("ranks_held", f"{share(all_ours)}, bootstrap {share(all_theirs)}", "0.93 or more")
    figure("cpu_seconds", f"{time.process_time() - began:.0f}")


if __name__ == "__main__":
    main()
