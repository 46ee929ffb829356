"""Simulated runs with a known truth, without experiments: from a program's directives to the gains of its runs.

The coarser of two simulation levels: thousands of replicates per second, for racing, attribution and power. The finer
one, `trainer.laws.law`, is a task on which the real researcher makes experiments. Gains can be in any unit; stock gains
1.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


@dataclass(frozen=True)
class RunLaw:
    """The distribution of a run's verified gain around the mean gain of its program.

    ``sd``: between runs of a program with gain 0; it shrinks by the share ``shrink`` at gain ``headroom``. ``failing``:
    share of runs whose final source fails under fresh seeds and gains 0. ``drift``: SD of a deviation shared by all
    runs of one match. ``common``: share of a run's variance that depends on its run seed only. ``skew``: skewness of
    the rest (a gamma distribution, mirrored if negative).
    """

    sd: float = 1.0
    shrink: float = 0.0
    headroom: float = 1.0
    failing: float = 0.0
    drift: float = 0.0
    common: float = 0.0
    skew: float = 0.0

    def spread(self, gain: float) -> float:
        """SD between the runs of a program of that gain, without failures."""
        return self.sd * (1.0 - self.shrink * min(1.0, max(0.0, gain / self.headroom)))

    def mean(self, gain: float) -> float:
        """Expected verified gain, failures included."""
        return (1.0 - self.failing) * gain

    def draw(
        self, gain: float | Floats, n: int, rng: np.random.Generator, seeds: Floats | None = None, drift: float = 0.0
    ) -> Floats:
        """Verified gains of ``n`` runs. ``gain``: one for all runs, or one each [n]; ``seeds`` [n]: standard normal
        draws of the run seeds, if programs share them; ``drift``: the match's deviation."""
        import numpy as np

        own = self._luck(n, rng)
        if self.common:
            shared = rng.standard_normal(n) if seeds is None else seeds
            own = np.sqrt(self.common) * shared + np.sqrt(1.0 - self.common) * own
        means = np.broadcast_to(np.asarray(gain, dtype=np.float64), (n,))
        spreads = np.array([self.spread(mean) for mean in means]) if self.shrink else self.sd
        drawn: Floats = means + spreads * own + drift
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
    """From directives to behaviour: ``effects`` of following a directive on a run's gain, ``interactions`` of pairs.

    A run follows each directive of its program with the probability ``followed`` (unnamed: 1), independently, so
    having it is worth that share of following it. Charter fields are directives like any other.
    """

    effects: Mapping[str, float]
    stock: float = 1.0
    interactions: Mapping[tuple[str, str], float] = field(default_factory=dict)
    followed: Mapping[str, float] = field(default_factory=dict)
    runs: RunLaw = field(default_factory=RunLaw)

    def gain(self, followed: Collection[str]) -> float:
        """True gain of a run that follows exactly these directives."""
        single = sum(self.effects.get(directive, 0.0) for directive in followed)
        pairs = (extra for (a, b), extra in self.interactions.items() if a in followed and b in followed)
        return self.stock + single + sum(pairs)

    def expected(self, directives: Collection[str]) -> float:
        """Expected verified gain of a program with these directives, including failures and compliance."""
        share = {directive: self.followed.get(directive, 1.0) for directive in directives}
        single = sum(self.effects.get(directive, 0.0) * p for directive, p in share.items())
        pairs = sum(e * share[a] * share[b] for (a, b), e in self.interactions.items() if a in share and b in share)
        return self.runs.mean(self.stock + single + pairs)

    def effect(self, directive: str, beside: Iterable[str] = ()) -> float:
        """The effect of adding a directive on the expected gain of a program with the directives ``beside``."""
        others = set(beside) - {directive}
        return self.expected(others | {directive}) - self.expected(others)

    def draw(
        self,
        directives: Sequence[str],
        n: int,
        rng: np.random.Generator,
        seeds: Floats | None = None,
        drift: float = 0.0,
    ) -> tuple[Floats, list[frozenset[str]]]:
        """``n`` runs: verified gains, and the directives that each followed."""
        import numpy as np

        if not self.followed:
            return self.runs.draw(self.gain(set(directives)), n, rng, seeds, drift), [frozenset(directives)] * n
        odds = np.array([self.followed.get(directive, 1.0) for directive in directives])
        obeyed = rng.random((n, len(directives))) < odds
        held = [frozenset(d for d, yes in zip(directives, row, strict=True) if yes) for row in obeyed]
        return self.runs.draw(np.array([self.gain(h) for h in held]), n, rng, seeds, drift), held


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
