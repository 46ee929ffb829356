"""Top-two Thompson sampling: runs go where it is in doubt which arm is best (Russo 2016), a few at a time."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from analysis.statistics import Estimate, Posterior, between_variance, mean_interval, posterior
from arena.racers.contract import ArmScore, RaceStart

if TYPE_CHECKING:
    import numpy as np

INDIFFERENCE = 0.1  # of the spread of true gains: what is nearer to the best is as good
DOUBT = 0.1  # docs/log/racing.md: what it costs and how often it names a good program
DRAWS = 64  # from the posterior, in search of one whose best arm is another


class TopTwo:
    """Brings all to ``first`` runs, then asks for ``batch`` runs at a time, ``most`` of the raced arms in all.

    Each is given to the arm that a draw from the posterior puts on top, or, by a toss, to the one that another draw
    puts there. With ``doubt`` it ends as soon as the chance that some other arm is better than the leader falls
    to that (see ``in_doubt``). Arms that are not raced get ``first`` runs. ``seed`` settles the draws.
    """

    def __init__(
        self,
        first: int,
        most: int,
        *,
        batch: int = 1,
        doubt: float | None = None,
        indifference: float = INDIFFERENCE,
        seed: int = 0,
    ) -> None:
        self.first, self.most, self.batch = first, most, batch
        self.doubt, self.indifference, self.seed = doubt, indifference, seed
        self._replay = _Replay((), first)

    def next_round(self, scores: Sequence[ArmScore]) -> Mapping[str, int]:
        short = {arm.arm_id: self.first for arm in scores if len(arm.gains) < self.first}
        if short:
            return short
        raced = [arm for arm in scores if arm.raced]
        if not self._replay.goes_on(raced):
            self._replay = _Replay(raced, self.first)
        return self._next(raced, self._replay)

    def _next(self, raced: Sequence[ArmScore], at: _Replay) -> Mapping[str, int]:
        """Replay the rounds that were played, up to the first that asks for runs which are not there yet."""
        while True:
            requested = at.requested if at.requested is not None else self._ask(at)
            at.requested = requested
            short = {raced[i].arm_id: runs for i, runs in requested.items() if len(raced[i].gains) < runs}
            if short or not requested:
                return short
            at.take(raced)

    def _ask(self, at: _Replay) -> dict[int, int]:
        """Place of an arm → the runs it is to have; empty when the race is over."""
        import numpy as np

        total = sum(at.counts)
        if total >= self.most or len(at.counts) < 2:
            return {}
        scored = at.posterior()
        if self.doubt is not None and in_doubt(scored, self.indifference) <= self.doubt:
            return {}
        rng = np.random.default_rng([self.seed, total])
        picked = Counter(top_two(scored, rng) for _ in range(min(self.batch, self.most - total)))
        return {i: at.counts[i] + more for i, more in picked.items()}


def top_two(scored: Sequence[Posterior], rng: np.random.Generator) -> int:
    """The place of the arm that gets the next run: leader of one draw, or of the first draw with another leader."""
    import numpy as np

    means, ses = np.array([(s.shrunk.or_zero, s.shrunk.se) for s in scored]).T
    leaders = (means + ses * rng.standard_normal((DRAWS, len(scored)))).argmax(axis=1)
    leader = int(leaders[0])
    if rng.random() < 0.5:
        return leader
    others = np.flatnonzero(leaders != leader)
    if others.size:
        return int(leaders[others[0]])
    lag = (means[leader] - means) / np.hypot(ses, ses[leader])
    lag[leader] = np.inf
    return int(lag.argmin())


def in_doubt(scored: Sequence[Posterior], indifference: float = INDIFFERENCE) -> float:
    """The chance that some arm is better than the leader by more than ``indifference`` spreads of true gains.

    1 - Π P(not better), as if the comparisons with the leader were independent; the spread is the estimated sd
    between the arms (DerSimonian and Laird).
    """
    measured, shrunk = [s.measured for s in scored], [s.shrunk for s in scored]
    leader = max(shrunk, key=lambda s: s.or_zero)
    margin = indifference * math.sqrt(
        between_variance([m.or_zero for m in measured], [(m.se or 0.0) ** 2 for m in measured])
    )
    settled = 1.0
    for other in shrunk:
        if other is not leader:
            z = (leader.or_zero + margin - other.or_zero) / math.hypot(leader.se or 0.0, other.se or 0.0)
            settled *= 0.5 * math.erfc(-z / math.sqrt(2.0))
    return 1.0 - settled


class _Replay:
    """How far a race has been replayed: runs used of each arm, and what has been asked for beyond them."""

    def __init__(self, raced: Sequence[ArmScore], first: int) -> None:
        self.used = [(arm.arm_id, arm.gains[:first]) for arm in raced]
        self.means: list[Estimate] = [mean_interval(gains) for _, gains in self.used]
        self.requested: dict[int, int] | None = None

    @property
    def counts(self) -> list[int]:
        return [len(gains) for _, gains in self.used]

    def goes_on(self, raced: Sequence[ArmScore]) -> bool:
        """Whether these are the arms of this race, with at least the runs that it has used."""
        now = [(arm.arm_id, arm.gains[:n]) for arm, n in zip(raced, self.counts, strict=False)]
        return bool(raced) and len(raced) == len(self.used) and now == self.used

    def posterior(self) -> list[Posterior]:
        return posterior(self.means)

    def take(self, raced: Sequence[ArmScore]) -> None:
        """Use the runs that were asked for."""
        for i, runs in (self.requested or {}).items():
            self.used[i] = (raced[i].arm_id, raced[i].gains[:runs])
            self.means[i] = mean_interval(self.used[i][1])
        self.requested = None


def make(start: RaceStart) -> TopTwo:
    return TopTwo(start.first, start.most, batch=start.batch, doubt=DOUBT, seed=start.seed)
