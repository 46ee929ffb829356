"""Calibration of the posterior that selection goes by: coverage of its 95% intervals against planted truth.

python -m bench.posterior [REPLICATES]

True gains N(1, spread) of K programs; the law of the runs and their numbers stand in each line. `top`: the program that
the posterior puts first, whose raw mean flatters it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import numpy as np

from analysis.planted import RunLaw
from analysis.statistics import mean_interval, posterior, share_interval
from bench.common import figure

WORLDS: tuple[tuple[str, float, RunLaw], ...] = (
    ("noise of one spread", 1.0, RunLaw(sd=1.0)),
    ("noise of three spreads", 1 / 3, RunLaw(sd=1.0)),
    ("noise of a third of the spread", 3.0, RunLaw(sd=1.0)),
    ("no spread", 0.0, RunLaw(sd=1.0)),
    ("noise that shrinks to a fifth for the best", 1.0, RunLaw(sd=1.0, shrink=0.8, headroom=3.0)),
    ("a run in five fails and gains 0", 0.5, RunLaw(sd=0.3, failing=0.2)),
)
PROGRAMS = (3, 8, 16)
RUNS = ((4,), (8, 4, 4), (2, 2, 12))  # runs of the programs, in turn


def study(
    spread: float, law: RunLaw, programs: int, runs: Sequence[int], rng: np.random.Generator
) -> tuple[list[bool], bool, float, float]:
    """Of one study: which intervals hold their truth; that of the top; how far mean and shrunk mean flatter the top."""
    truths = (1.0 + spread * rng.standard_normal(programs)).tolist()
    gains = [law.draw(gain, runs[i % len(runs)], rng).tolist() for i, gain in enumerate(truths)]
    means = [mean_interval(g) for g in gains]
    scored = posterior([m.mean or 0.0 for m in means], [m.se for m in means], [m.n for m in means])
    expected = [law.mean(gain) for gain in truths]
    held = [abs(s.shrunk_mean - t) <= 1.96 * s.shrunk_se for s, t in zip(scored, expected, strict=True)]
    top = max(range(programs), key=lambda i: scored[i].shrunk_mean)
    return held, held[top], scored[top].mean - expected[top], scored[top].shrunk_mean - expected[top]


def main() -> None:
    replicates = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    for name, spread, law in WORLDS:
        for programs in PROGRAMS:
            for runs in RUNS:
                rng = np.random.default_rng(50)
                results = [study(spread, law, programs, runs, rng) for _ in range(replicates)]
                tell(f"{name}; {programs} programs, runs {'/'.join(map(str, runs))}", results)


def tell(name: str, results: Sequence[tuple[list[bool], bool, float, float]]) -> None:
    held = sum(sum(f[0]) for f in results) / sum(len(f[0]) for f in results)
    low, high = share_interval(sum(f[1] for f in results), len(results))
    raw, shrunk = np.mean([f[2] for f in results]), np.mean([f[3] for f in results])
    figure(name, f"{held:.3f} of intervals hold the truth, of the top's {low:.3f} to {high:.3f}; "
                 f"the top is flattered by {raw:+.3f} raw, {shrunk:+.3f} shrunk", "0.95")  # fmt: skip


if __name__ == "__main__":
    main()
