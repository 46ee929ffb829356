"""Runs needed to name one of the best programs: racers against uniform allocation, planted truth and real runs.

python -m bench.racing [REPLICATES [DESIGN ...]]                       16 programs, normal true gains, noise = spread
python -m bench.racing --real STUDY ... [-- REPLICATES [DESIGN ...]]   programs and runs of real studies, resampled

The law, planted: true gains N(0, 1), runs N(gain, 1); a name is good within 0.1 of the best. Every racer is the
product's code, which knows neither the spread nor the noise. Runs needed: where a probit line over log(runs) through
the sizes tried crosses 0.9, its 95% interval by resampling the replicates; the size found is then held against
fresh replicates. A racer that may end early is counted by its mean number of runs.
"""

from __future__ import annotations

import math
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from analysis.statistics import mean_interval, posterior, share_interval
from arena.race import Allocation, ArmScore, Racer, SequentialHalving, Stage, TopTwo, shrunken
from arena.racers.top_two import in_doubt
from arena.standalone import RACE_FIRST
from bench.common import figure, sql

Floats = NDArray[np.float64]
PROGRAMS, WITHIN, SURE = 16, 0.1, 0.9
REPLICATES, FRESH = 2000, 1
MOST_SCALE = 20.0  # beyond, nobody would run as many
GAINS = """
SELECT r.program_id, list(r.verified_gain ORDER BY r.run_id) AS gains
FROM runs AS r JOIN programs AS p USING (program_id)
WHERE r.verified_gain IS NOT NULL AND r.stream = 'selection' AND p.operator = 'starter' GROUP BY ALL
"""


@dataclass(frozen=True)
class World:
    """Draws true gains [k], and runs of one program given its place."""

    truths: Callable[[np.random.Generator], Floats]
    runs: Callable[[Floats, int, int, np.random.Generator], list[float]]
    within: float
    programs: int
    scale: float = 1.0  # variance of the noise in squared spreads: sizes are in units of it


@dataclass(frozen=True)
class Tried:
    """A design at one size: runs spent, whether the name was good, and how far it was from the best, by replicate."""

    runs: Floats
    good: Floats
    regret: Floats


Make = Callable[[float, int], Racer]  # of a size, and of a seed
Design = tuple[str, Make, tuple[float, ...]]


def planted() -> World:
    return World(
        lambda rng: rng.standard_normal(PROGRAMS),
        lambda truths, i, n, rng: (truths[i] + rng.standard_normal(n)).tolist(), WITHIN, PROGRAMS,
    )  # fmt: skip


def real(studies: Iterable[Path]) -> World:
    """The starters of real studies, the runs of all studies together, with three selection runs or more.

    Truth: empirical-Bayes means, so that what is luck in the spread of means is not taken for truth. Runs: a
    program's own deviations from its mean, drawn with replacement, widened by sqrt(n / (n - 1)).
    """
    pool: dict[str, list[float]] = defaultdict(list)
    for study in studies:
        for row in sql(study, GAINS):
            pool[row["program_id"]] += row["gains"]
    gains = [runs for runs in pool.values() if len(runs) >= 3]
    means = [mean_interval(runs) for runs in gains]
    scored = posterior([m.mean or 0.0 for m in means], [m.se for m in means], [m.n for m in means])
    truths = np.array([s.shrunk_mean for s in scored])
    noise = [(np.array(g) - np.mean(g)) * math.sqrt(len(g) / (len(g) - 1)) for g in gains]
    sd, spread = math.sqrt(float(np.mean([np.mean(part**2) for part in noise]))), float(truths.std(ddof=1))
    figure("real_programs", f"{len(gains)} starters, {min(map(len, gains))} to {max(map(len, gains))} runs each")
    figure("real_spread", f"{spread:.4f} between programs; run noise {sd:.4f}, {sd / spread:.1f} spreads")
    figure(
        "real_gaps", " ".join(f"{gap / spread:.2f}" for gap in sorted(truths.max() - truths)) + " spreads to the best"
    )
    return World(
        lambda _: truths, lambda _, i, n, rng: (truths[i] + rng.choice(noise[i], n)).tolist(), WITHIN * spread,
        len(gains), min((sd / spread) ** 2, MOST_SCALE),
    )  # fmt: skip


def designs(k: int, scale: float) -> list[Design]:
    """Each with the sizes to try; what a size is differs: runs each, first runs, most runs, doubt."""
    half = [max(2, k >> step) for step in range(1, 4)]
    most, batch = round(16 * k * scale), max(1, round(scale))

    def runs(*sizes: float) -> tuple[float, ...]:
        return tuple(max(2.0, round(size * scale)) for size in sizes)

    def field(*sizes: float) -> tuple[float, ...]:
        return tuple(max(2.0 * k, round(size * scale * k / 16)) for size in sizes)

    doubts = (0.2, 0.15, 0.1, 0.05)
    return [
        ("uniform", lambda size, _: Allocation({str(i): round(size) for i in range(k)}), runs(14, 20, 30, 45)),
        ("uniform_ends", lambda size, _: UniformEnds(round(60 * scale), size, batch), doubts),
        ("halving", lambda size, _: halving(half, round(size)), runs(2, 3, 4, 6)),
        ("small_stages", lambda size, _: staged(k, round(size)), runs(5, 8, 12, 18)),
        ("top_two", lambda size, seed: TopTwo(2, round(size), batch=batch, seed=seed), field(80, 110, 150, 200)),
        ("top_two_batch_4", lambda size, seed: TopTwo(2, round(size), batch=4 * batch, seed=seed),
         field(80, 110, 150, 200)),
        ("top_two_ends", lambda size, seed: TopTwo(2, most, batch=batch, doubt=size, seed=seed), doubts),
        ("top_two_ends_batch_4", lambda size, seed: TopTwo(2, most, batch=4 * batch, doubt=size, seed=seed), doubts),
        ("match_race", lambda size, seed: TopTwo(RACE_FIRST, most, batch=2 * batch, doubt=size, seed=seed), doubts),
    ]  # fmt: skip


class UniformEnds:
    """``each`` more runs for all until the leader is in no doubt: what the end alone saves, whoever gets the runs."""

    def __init__(self, most: int, doubt: float, each: int = 1) -> None:
        self.most, self.doubt, self.each = most, doubt, each

    def next_round(self, scores: Sequence[ArmScore]) -> Mapping[str, int]:
        runs = len(scores[0].gains)
        if runs >= 2:
            means = [mean_interval(arm.gains) for arm in scores]
            scored = posterior([m.mean or 0.0 for m in means], [m.se for m in means], [m.n for m in means])
            if runs >= self.most or in_doubt(scored, WITHIN) <= self.doubt:
                return {}
        return {arm.arm_id: max(2, runs + self.each) for arm in scores}


def halving(keeps: Sequence[int], first: int) -> SequentialHalving:
    return SequentialHalving([Stage(None, first), *(Stage(keep, first << step) for step, keep in enumerate(keeps, 1))])


def staged(k: int, each: int) -> SequentialHalving:
    """Many small stages: about ``each`` runs of the field per stage, a quarter of the field leaves after each."""
    stages, keep, runs = [Stage(None, 2)], k, 2
    while keep > 2:
        keep = max(2, keep * 3 // 4)
        runs += max(1, round(each / keep))
        stages.append(Stage(keep, runs))
    return SequentialHalving(stages)


def race(racer: Racer, world: World, rng: np.random.Generator) -> tuple[int, float]:
    """Runs that one race took, and how much the program that it names falls short of the best."""
    truths = world.truths(rng)
    gains: list[list[float]] = [[] for _ in range(world.programs)]
    while wanted := racer.next_round([ArmScore(str(i), True, tuple(g)) for i, g in enumerate(gains)]):
        for name, runs in wanted.items():
            mine = gains[int(name)]
            mine += world.runs(truths, int(name), runs - len(mine), rng)
    named = int(np.argmax(shrunken(gains)))
    return sum(map(len, gains)), float(truths.max() - truths[named])


def tried(make: Make, size: float, world: World, replicates: int, stream: int = 0) -> Tried:
    """Replicates of one design at one size; all designs meet the same draws of true gains as far as they can."""
    out = [race(make(size, r), world, np.random.default_rng([20, stream, r])) for r in range(replicates)]
    runs, regret = np.array([runs for runs, _ in out], float), np.array([lost for _, lost in out])
    return Tried(runs, (regret <= world.within).astype(float), regret)


def crossing(runs: Sequence[float], shares: Sequence[float]) -> float:
    """The number of runs at which a probit line over log(runs) reaches SURE; e^20 where it does not rise."""
    z = [NormalDist().inv_cdf(min(max(share, 1e-3), 1 - 1e-3)) for share in shares]
    slope, at = np.polyfit(np.log(runs), z, 1)
    return math.exp(min(max((NormalDist().inv_cdf(SURE) - at) / slope, 0.0), 20.0)) if slope > 0 else math.exp(20.0)


def needed(points: Sequence[Tried]) -> tuple[float, Floats]:
    """Runs needed, and what 400 resamplings of the replicates say of it; the same ones for every design."""
    n = len(points[0].runs)

    def of(at: NDArray[np.int64]) -> float:
        return crossing([float(p.runs[at].mean()) for p in points], [float(p.good[at].mean()) for p in points])

    again = [of(np.random.default_rng([30, b]).integers(0, n, n)) for b in range(400)]
    return of(np.arange(n)), np.array(again)


def compare(world: World, replicates: int, only: Sequence[str] = ()) -> None:
    """Every design at its sizes, the runs it needs, the ratio to uniform, and the same on fresh replicates."""
    base = (math.nan, np.array([math.nan]))
    for name, make, sizes in designs(world.programs, world.scale):
        if only and name not in ("uniform", *only):
            continue
        points = [tried(make, size, world, replicates) for size in sizes]
        for size, point in zip(sizes, points, strict=True):
            tell(f"{name}_{size:g}", point)
        needed_runs, again = needed(points)
        if min(point.good.mean() for point in points) > SURE:
            figure(
                f"{name}_needs", f"fewer than {min(p.runs.mean() for p in points):.0f} runs: better at every size tried"
            )
            continue
        if name == "uniform":
            base = needed_runs, again
        figure(f"{name}_needs", f"{needed_runs:.0f} runs {span(again)}")
        figure(f"{name}_ratio", f"{base[0] / needed_runs:.2f} {span(base[1] / again)}", "4")
        nearest = min(zip(sizes, points, strict=True), key=lambda p: abs(math.log(p[1].runs.mean() / needed_runs)))[0]
        tell(f"{name}_{nearest:g}_fresh", tried(make, nearest, world, 2 * replicates, FRESH))


def tell(name: str, point: Tried) -> None:
    k, n = int(point.good.sum()), len(point.good)
    low, high = share_interval(k, n)
    half = 1.96 * point.runs.std(ddof=1) / math.sqrt(n)
    spread = f", half of the races within {np.median(point.runs):.0f}" if half else ""
    figure(name, f"{point.runs.mean():.1f} ± {half:.1f} runs{spread}; good name {k / n:.3f} [{low:.3f}, {high:.3f}]; "
                 f"short of the best by {point.regret.mean():.4f}")  # fmt: skip


def span(values: Floats) -> str:
    low, high = np.quantile(values, [0.025, 0.975])
    return f"[{low:.2f}, {high:.2f}]" if high < 100 else f"[{low:.0f}, {high:.0f}]"


def main(words: Sequence[str]) -> None:
    studies: Sequence[str] = ()
    if words[:1] == ["--real"]:
        cut = words.index("--") if "--" in words else len(words)
        studies, words = words[1:cut], words[cut + 1 :]
    world = real(Path(word) for word in studies) if studies else planted()
    compare(world, int(words[0]) if words else REPLICATES, words[1:])


if __name__ == "__main__":
    main(sys.argv[1:])
