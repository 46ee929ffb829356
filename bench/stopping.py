"""Stopping runs that cannot reach promotion any more: what it saves at most, and how often it stops a wrong one.

python -m bench.stopping [REPLICATES]                      planted: normal true gains, run noise of one and two spreads
python -m bench.stopping --real STUDY ... [-- REPLICATES]  the programs and runs of real studies, resampled

The opening race of a default study: 11 programs, 4 runs each, the best 4 go on. After 3 runs each, a program's last run
is stopped where the chance that it is promoted all the same is below a threshold: 200 draws of everybody's last run
from the posterior. That run is taken to be stopped before it begins, so that the saving is the most that any rule
within it could have; a rule after half of it saves half. Wrong: a stopped program would have been promoted.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from analysis.statistics import mean_interval, posterior, share_interval
from arena.race import shrunken
from bench.common import figure
from bench.racing import Floats, World, real

PROGRAMS, RUNS, KEEP, DRAWS = 11, 4, 4, 200
THRESHOLDS = (0.01, 0.02, 0.05, 0.1)
STUDY_SHARE = (11 * 4 + 3 * 7 * 4) / 224  # of a default study's runs are in first stages


def normal(noise: float) -> World:
    """True gains N(0, 1), runs with that noise."""
    return World(
        lambda rng: rng.standard_normal(PROGRAMS),
        lambda truths, i, n, rng: (truths[i] + noise * rng.standard_normal(n)).tolist(), 0.1, PROGRAMS,
    )  # fmt: skip


def chances(gains: Sequence[Sequence[float]], rng: np.random.Generator) -> Floats:
    """Each program's chance to be among the best KEEP after one more run of everybody's."""
    means = [mean_interval(runs) for runs in gains]
    scored = posterior([m.mean or 0.0 for m in means], [m.se for m in means], [m.n for m in means])
    centre, doubt = np.array([s.shrunk_mean for s in scored]), np.array([s.shrunk_se for s in scored])
    noise = np.array([s.se * np.sqrt(s.n) for s in scored])
    n = len(gains[0])
    truths = centre + doubt * rng.standard_normal((DRAWS, len(gains)))
    last = truths + noise * rng.standard_normal(truths.shape)
    final = (n * np.array([m.mean or 0.0 for m in means]) + last) / (n + 1)
    promoted = np.argsort(-final, axis=1)[:, :KEEP]
    return np.bincount(promoted.ravel(), minlength=len(gains)) / DRAWS


def measure(world: World, replicates: int) -> list[tuple[float, int, int, int]]:
    """(threshold, runs stopped, races with a wrong stop, wrong stops of the truly best) over all replicates."""
    stopped, wrong, best = (dict.fromkeys(THRESHOLDS, 0) for _ in range(3))
    for r in range(replicates):
        rng = np.random.default_rng([40, r])
        truths = world.truths(rng)
        gains = [world.runs(truths, i, RUNS, rng) for i in range(len(truths))]
        chance = chances([runs[:-1] for runs in gains], rng)
        through = set(np.argsort(-np.array(shrunken(gains)))[:KEEP].tolist())
        for threshold in THRESHOLDS:
            ended = set(np.flatnonzero(chance < threshold).tolist())
            stopped[threshold] += len(ended)
            wrong[threshold] += bool(ended & through)
            best[threshold] += int(np.argmax(truths)) in ended & through
    return [(t, stopped[t], wrong[t], best[t]) for t in THRESHOLDS]


def tell(name: str, world: World, replicates: int) -> None:
    for threshold, stopped, wrong, best in measure(world, replicates):
        share = stopped / replicates / world.programs / RUNS
        low, high = share_interval(wrong, replicates)
        figure(
            f"{name}_{threshold:g}",
            f"saves at most {share:.1%} of first stages, {share * STUDY_SHARE:.1%} of the study; a wrong stop in "
            f"{wrong / replicates:.1%} [{low:.1%}, {high:.1%}] of races, of the truly best in {best / replicates:.2%}",
        )


def main(words: Sequence[str]) -> None:
    if words[:1] == ["--real"]:
        cut = words.index("--") if "--" in words else len(words)
        more = words[cut + 1 :]
        tell("real", real(Path(word) for word in words[1:cut]), int(more[0]) if more else 2000)
        return
    replicates = int(words[0]) if words else 2000
    for noise in (1.0, 2.0):
        tell(f"planted_noise_{noise:g}", normal(noise), replicates)


if __name__ == "__main__":
    main(sys.argv[1:])
