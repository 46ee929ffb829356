"""`metaloop simulate`: what a study of a given size can detect, before anything is spent.

Many studies are simulated under a stated law, with the code of real ones: `arena.race`, empirical-Bayes scores and the
test of `meta.claim`. Only the gains of runs are drawn.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

from analysis.planted import RunLaw
from analysis.statistics import mean_interval, share_interval
from arena.race import ArmScore, SequentialHalving, Stage, shrunken
from meta.claim import claim

if TYPE_CHECKING:
    import numpy as np
    from pydantic import JsonValue

STOCK = 0  # place of stock among the programs


@dataclass(frozen=True)
class World:
    """True gains and the noise of runs. ``effects``: of the programs beside stock, over stock; where there are
    none, each is drawn anew in each study, normal with sd ``spread``."""

    stock: float = 1.0
    spread: float = 0.2
    effects: tuple[float, ...] = ()
    runs: RunLaw = field(default_factory=lambda: RunLaw(sd=0.33))

    def gains(self, programs: int, rng: np.random.Generator) -> list[float]:
        """Gain of stock's runs that do not fail, then of the others'."""
        over = list(self.effects) or (self.spread * rng.standard_normal(programs - 1)).tolist()
        return [self.stock, *(self.stock + effect for effect in over)]

    @property
    def null(self) -> World:
        """The same with no program better than another."""
        return World(self.stock, 0.0, tuple(0.0 for _ in self.effects), self.runs)


@dataclass(frozen=True)
class Design:
    """The size of a study: ``programs`` with stock; rounds of ``runs``, 2 × ``runs`` … for all, half … of them;
    then ``confirm`` fresh runs of the champion and of stock."""

    programs: int = 8
    runs: int = 4
    rounds: int = 2
    confirm: int = 20

    @property
    def stages(self) -> tuple[Stage, ...]:
        later = (Stage(max(2, self.programs >> r), self.runs << r) for r in range(1, self.rounds))
        return (Stage(None, self.runs), *later)

    @property
    def race_runs(self) -> int:
        """Runs of the race; a stage's runs count from the stage before."""
        kept = [stage.keep or self.programs for stage in self.stages]
        runs = [0, *(stage.runs for stage in self.stages)]
        return sum(k * (b - a) for k, a, b in zip(kept, runs, runs[1:], strict=False))


@dataclass(frozen=True)
class Replicate:
    """One study: the true gains of champion, stock and the best other program, and the study's estimates."""

    champion: float
    stock: float
    best: float
    in_race: float  # the champion's mean in the race that chose it
    told_covers: bool
    difference: float
    low: float
    high: float
    holds: bool


def replicate(world: World, design: Design, rng: np.random.Generator) -> Replicate:
    """Race, select the champion and confirm it once."""
    gains = world.gains(design.programs, rng)
    true = [world.runs.mean(gain) for gain in gains]
    drift = world.runs.drift * float(rng.standard_normal())
    raced = race(gains, design, world.runs, rng, drift)
    scores = shrunken(raced)
    champion = max(range(1, len(gains)), key=lambda arm: scores[arm])
    again = world.runs.drift * float(rng.standard_normal())
    fresh = {
        role: world.runs.draw(gains[arm], design.confirm, rng, drift=again).tolist()
        for role, arm in (("champion", champion), ("control", STOCK))
    }
    said, mean = claim(fresh), mean_interval(raced[champion])
    covers = mean.low is not None and mean.high is not None and mean.low <= true[champion] <= mean.high
    return Replicate(
        true[champion],
        true[STOCK],
        max(true[1:]),
        mean.mean or 0.0,
        covers,
        said.difference,
        -math.inf if said.low is None else said.low,
        math.inf if said.high is None else said.high,
        said.holds,
    )


def race(
    gains: Sequence[float], design: Design, law: RunLaw, rng: np.random.Generator, drift: float = 0.0
) -> list[list[float]]:
    """Run the real race over drawn runs; returns each arm's gains in the order of its runs."""
    racer = SequentialHalving(design.stages)
    arms: list[list[float]] = [[] for _ in gains]
    while wanted := racer.next_round([ArmScore(str(i), True, tuple(arm)) for i, arm in enumerate(arms)]):
        for name, runs in wanted.items():
            arm = arms[int(name)]
            arm += law.draw(gains[int(name)], runs - len(arm), rng, drift=drift).tolist()
    return arms


@dataclass(frozen=True)
class Figure:
    """A figure over replicates with its two-sided 95% Monte-Carlo interval."""

    name: str
    value: float | None
    low: float | None
    high: float | None
    n: int
    meaning: str


@dataclass(frozen=True)
class Simulated:
    """All figures, with their law and design."""

    world: World
    design: Design
    within: float
    figures: tuple[Figure, ...]
    replicates: int
    null_replicates: int
    seconds: float
    seed: int
    stopped_early: bool

    def to_json(self) -> dict[str, JsonValue]:
        law = asdict(self.world) | {"shape": "normal" if not self.world.effects else "given effects"}
        about: dict[str, JsonValue] = {"law": law, "design": asdict(self.design) | {"race_runs": self.design.race_runs}}
        about |= {"replicates": self.replicates, "null_replicates": self.null_replicates, "within": self.within}
        about |= {"seconds": round(self.seconds, 2), "seed": self.seed, "stopped_early": self.stopped_early}
        return about | {"figures": [asdict(figure) for figure in self.figures]}


def simulate(
    world: World,
    design: Design,
    *,
    replicates: int = 2000,
    null_replicates: int | None = None,
    seconds: float = 20.0,
    within: float | None = None,
    seed: int = 1,
    tell: Callable[[int], None] = lambda _: None,
) -> Simulated:
    """Simulate ``replicates`` studies of the world and as many of its null, or as many as ``seconds`` allow.

    They alternate, so that both get half of a short time. ``within``: this close to the best counts as the best
    (default: a tenth of the spread).
    """
    import numpy as np

    began, rng = time.monotonic(), np.random.Generator(np.random.PCG64(seed))
    null = replicates if null_replicates is None else null_replicates
    within = 0.1 * spread_of(world) if within is None else within
    studies: dict[str, list[Replicate]] = {"world": [], "null": []}
    for number in range(max(replicates, null)):
        if number and time.monotonic() - began > seconds:
            break
        if number < replicates:
            studies["world"].append(replicate(world, design, rng))
        if number < null:
            studies["null"].append(replicate(world.null, design, rng))
        tell(number + 1)
    figures = (*figures_of(studies["world"], within), *null_figures(studies["null"]))
    made = len(studies["world"]), len(studies["null"])
    early = made[0] < replicates or made[1] < null
    return Simulated(world, design, within, figures, *made, time.monotonic() - began, seed, early)


def spread_of(world: World) -> float:
    """Sd of the true gains between programs, stock's among them where effects are given."""
    if not world.effects:
        return world.spread
    over = [0.0, *world.effects]
    mean = sum(over) / len(over)
    return math.sqrt(sum((x - mean) ** 2 for x in over) / (len(over) - 1))


def figures_of(made: Sequence[Replicate], within: float) -> tuple[Figure, ...]:
    """Figures of the studies in a world where programs differ."""
    if not made:
        return ()
    better = [r for r in made if r.champion > r.stock]
    chosen = (
        _share("names_best", [r.champion == r.best for r in made], "the champion is the best program"),
        _share("names_near_best", [r.champion >= r.best - within for r in made], f"… or within {within:.3g} of it"),
    )
    ratios: tuple[Figure, ...] = ()
    if all(r.stock > 0 for r in made):
        ratios = (
            _mean("champion_ratio", [r.champion / r.stock for r in made], "the champion's true gain over stock's"),
            _mean("told_ratio", [r.in_race / r.stock for r in made], "as measured in the race: biased upwards"),
        )
    return (
        *chosen,
        *ratios,
        _share("confirmed", [r.holds for r in made], "studies that confirm their champion"),
        _share("power", [r.holds for r in better], "… if the champion is truly better"),
        _share("wrong_claims", [r.holds and r.champion <= r.stock for r in made], "confirmed, but not truly better"),
        _share("claim_coverage", [_covers(r) for r in made], "coverage of 95% intervals of champion − stock"),
        _share("race_coverage", [r.told_covers for r in made], "coverage of 95% intervals of the race's winner"),
    )


def null_figures(made: Sequence[Replicate]) -> tuple[Figure, ...]:
    """Figures of the studies where all programs are equal."""
    if not made:
        return ()
    return (
        _share("false_claims", [r.holds for r in made], "confirmed although nothing differs; level 2.5%"),
        _share("null_claim_coverage", [_covers(r) for r in made], "coverage of the intervals if nothing differs"),
    )


def _covers(r: Replicate) -> bool:
    return r.low <= r.champion - r.stock <= r.high


def _share(name: str, seen: Sequence[bool], meaning: str) -> Figure:
    low, high = share_interval(sum(seen), len(seen))
    return Figure(name, sum(seen) / len(seen) if seen else None, low, high, len(seen), meaning)


def _mean(name: str, values: Sequence[float], meaning: str) -> Figure:
    mean = mean_interval(values)
    return Figure(name, mean.mean, mean.low, mean.high, mean.n, meaning)


def like(gains: Mapping[str, Sequence[float]], stock: str) -> World:
    """The world estimated from a ledger: gains by program; ``stock`` names one of them.

    Noise is the pooled SD between runs of a program. The spread between programs is the rest of the variance of their
    means (DerSimonian and Laird 1986), at least 0. Raises ValueError below two runs of any.
    """
    from analysis.statistics import between_variance

    many = {who: values for who, values in gains.items() if len(values) > 1}
    df = sum(len(values) - 1 for values in many.values())
    if df == 0:
        raise ValueError("no program has two runs")
    rest = sum((x - sum(values) / len(values)) ** 2 for values in many.values() for x in values)
    noise = rest / df
    means = [sum(values) / len(values) for values in gains.values() if values]
    sizes = [len(values) for values in gains.values() if values]
    between = between_variance(means, [max(noise, 1e-24) / n for n in sizes]) if len(means) > 1 else 0.0
    own = gains.get(stock, ())
    base = sum(own) / len(own) if own else sum(means) / len(means)
    return World(base, math.sqrt(between), runs=RunLaw(sd=math.sqrt(noise)))
