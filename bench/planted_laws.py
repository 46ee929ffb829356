"""Simulated runs with a known truth, without experiments: from a program's directives to the gains of its runs.

The coarser of two simulation levels: thousands of replicates per second, for racing, attribution and power. The finer
one, `trainer.laws.law`, is a task on which the real researcher makes experiments. Gains can be in any unit; stock gains
1.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


@dataclass(frozen=True)
class RunLaw:
    """The distribution of a run's verified gain around the mean gain of its program.

    ``sd``: between the runs of a program. ``failing``: share of runs whose final source fails under fresh seeds and
    gains 0. ``drift``: SD of a deviation shared by all runs of one match. ``common``: share of a run's variance that
    depends on its run seed only. ``skew``: skewness of the rest (a gamma distribution, mirrored if negative).
    """

    sd: float = 1.0
    failing: float = 0.0
    drift: float = 0.0
    common: float = 0.0
    skew: float = 0.0

    def mean(self, gain: float) -> float:
        """Expected verified gain, failures included."""
        return (1.0 - self.failing) * gain

    def draw(
        self, gain: float, n: int, rng: np.random.Generator, seeds: Floats | None = None, drift: float = 0.0
    ) -> Floats:
        """Verified gains of ``n`` runs. ``seeds`` [n]: standard normal draws of the run seeds, if programs share them;
        ``drift``: the match's deviation."""
        import numpy as np

        own = self._luck(n, rng)
        if self.common:
            shared = rng.standard_normal(n) if seeds is None else seeds
            own = np.sqrt(self.common) * shared + np.sqrt(1.0 - self.common) * own
        drawn: Floats = gain + self.sd * own + drift
        if self.failing:
            drawn[rng.random(n) < self.failing] = 0.0
        return drawn

    def _luck(self, n: int, rng: np.random.Generator) -> Floats:
        """Draws of mean 0 and sd 1."""
        if not self.skew:
            return rng.standard_normal(n)
        shape = 4.0 / self.skew**2
        drawn: Floats = (rng.gamma(shape, size=n) - shape) / shape**0.5
        return drawn if self.skew > 0 else -drawn


@dataclass(frozen=True)
class DirectiveLaw:
    """From directives to behaviour: ``effects`` of directives on a run's gain; they add up. Charter fields are
    directives like any other."""

    effects: Mapping[str, float]
    stock: float = 1.0
    runs: RunLaw = field(default_factory=RunLaw)

    def gain(self, directives: Collection[str]) -> float:
        """True gain of a run of a program with these directives."""
        return self.stock + sum(self.effects.get(directive, 0.0) for directive in directives)

    def expected(self, directives: Collection[str]) -> float:
        """Expected verified gain of a program with these directives, failures included."""
        return self.runs.mean(self.gain(directives))

    def draw(
        self,
        directives: Sequence[str],
        n: int,
        rng: np.random.Generator,
        seeds: Floats | None = None,
        drift: float = 0.0,
    ) -> Floats:
        """Verified gains of ``n`` runs."""
        return self.runs.draw(self.gain(set(directives)), n, rng, seeds, drift)  # fmt: skip


#: Absolute effects in sd between runs of STATISTICS' credit test: six directives of twenty matter.
SIX_OF_TWENTY = (1.0, 0.9, 0.8, 0.4, 0.3, 0.2)


def planted_directives(
    rng: np.random.Generator, sizes: Sequence[float] = SIX_OF_TWENTY, count: int = 20, runs: RunLaw | None = None
) -> DirectiveLaw:
    """``count`` directives d00 …: effects of those sizes in SD between runs, random signs and positions; the rest 0."""
    law = runs or RunLaw()
    chosen = rng.permutation(count)[: len(sizes)]
    signs = rng.choice([-1.0, 1.0], size=len(sizes))
    effects = {f"d{i:02d}": 0.0 for i in range(count)}
    effects |= {f"d{at:02d}": float(s * size * law.sd) for at, s, size in zip(chosen, signs, sizes, strict=True)}
    return DirectiveLaw(effects, runs=law)
