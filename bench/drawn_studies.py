"""Studies whose gains of runs are drawn, with the race, the choice of the champion and the test of real ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from analysis.verdict.claim import Claim, claim
from arena.race import ArmScore, SequentialHalving, Stage, shrunken
from bench.planted_laws import RunLaw

STOCK = 0  # place of stock among the programs


@dataclass(frozen=True)
class World:
    """True gains and the noise of runs. ``effects``: of the programs beside stock, over stock; where there are
    none, each is drawn anew in each study, normal with sd ``spread``."""

    stock: float = 1.0
    spread: float = 0.0
    effects: tuple[float, ...] = ()
    runs: RunLaw = field(default_factory=lambda: RunLaw(sd=0.33))

    def gains(self, programs: int, rng: np.random.Generator) -> list[float]:
        """Gain of stock's runs that do not fail, then of the others'."""
        over = list(self.effects) or (self.spread * rng.standard_normal(programs - 1)).tolist()
        return [self.stock, *(self.stock + effect for effect in over)]


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


def study(world: World, design: Design, rng: np.random.Generator) -> tuple[int, Claim]:
    """Race, select the champion and confirm it once: its place among the programs, and the claim."""
    gains = world.gains(design.programs, rng)
    drift = world.runs.drift * float(rng.standard_normal())
    scores = shrunken(race(gains, design, world.runs, rng, drift))
    champion = max(range(1, len(gains)), key=lambda arm: scores[arm])
    again = world.runs.drift * float(rng.standard_normal())
    fresh = {
        role: world.runs.draw(gains[arm], design.confirm, rng, drift=again).tolist()
        for role, arm in (("champion", champion), ("control", STOCK))
    }
    return champion, claim(fresh)


def studies(world: World, design: Design, count: int, seed: int) -> list[tuple[int, Claim]]:
    rng = np.random.Generator(np.random.PCG64(seed))
    return [study(world, design, rng) for _ in range(count)]


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
