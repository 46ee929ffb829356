"""Replays of a run's kept commits: which subsets to train on the untouched source, and the estimates from them.

Three questions, weakest first. add-one-in: what is the effect of a commit on the untouched source? leave-one-out: what
does the final source lose without it? shapley: what does it add on average over all orders (Shapley 1953; permutations
drawn in pairs, each with its reverse, Castro et al. 2009)? If commits do not interact, the three agree. All trainings
use the same fresh seeds, so each estimate is a mean of differences within seeds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations as orders
from typing import Literal

from analysis.statistics import Mean, mean_interval

MOST_SHAPLEY = 8  # commits; with more, permutations are too expensive for their precision
Set = tuple[int, ...]  # indices of the applied commits, in the order in which they were kept
Question = Literal["add-one-in", "leave-one-out", "shapley"]


@dataclass(frozen=True)
class ReplayPlan:
    """Sources to train: ``orders[k]`` are the permutations of seed k, none if there are too many commits."""

    commits: int
    seeds: int
    orders: tuple[tuple[Set, ...], ...]

    @property
    def trainings(self) -> list[tuple[Set, int]]:
        """(commits in the source, number of the seed), each once; seed by seed, so that a part is usable."""
        everything = tuple(range(self.commits))
        needed: dict[tuple[Set, int], None] = {}
        for seed in range(self.seeds):
            sets = [(), everything, *((i,) for i in everything), *(without(everything, i) for i in everything)]
            sets += [tuple(sorted(order[:n])) for order in self.orders[seed] for n in range(self.commits + 1)]
            needed |= {(chosen, seed): None for chosen in sets}
        return list(needed)


def plan(commits: int, seeds: int, seed: int) -> ReplayPlan:
    """The plan for ``seeds`` fresh seeds; ``seed`` draws the permutations, two per seed (both for two commits)."""
    import numpy as np

    rng = np.random.Generator(np.random.PCG64(seed))
    if commits > MOST_SHAPLEY or commits < 2:
        drawn: list[tuple[Set, ...]] = [()] * seeds
    elif commits == 2:
        drawn = [tuple(orders(range(2)))] * seeds
    else:
        each = [tuple(rng.permutation(commits).tolist()) for _ in range(seeds)]
        drawn = [(order, order[::-1]) for order in each]
    return ReplayPlan(commits, seeds, tuple(drawn))


def without(everything: Set, gone: int) -> Set:
    return tuple(i for i in everything if i != gone)


def estimate(replay: ReplayPlan, gains: Mapping[tuple[Set, int], float]) -> dict[Question, list[Mean]]:
    """Question → a mean over seeds for each commit, from the gains of the finished trainings."""
    everything = tuple(range(replay.commits))
    adds = [[_difference(gains, (i,), (), seed) for seed in range(replay.seeds)] for i in everything]
    leaves = [
        [_difference(gains, everything, without(everything, i), s) for s in range(replay.seeds)] for i in everything
    ]
    out: dict[Question, list[Mean]] = {"add-one-in": _means(adds), "leave-one-out": _means(leaves)}
    if any(replay.orders):
        values = [[_average(gains, order, i, seed) for seed, order in enumerate(replay.orders)] for i in everything]
        out["shapley"] = _means(values)
    return out


def _average(gains: Mapping[tuple[Set, int], float], drawn: Sequence[Set], commit: int, seed: int) -> float | None:
    """The gain when a commit is added, averaged over the permutations of one seed."""
    added: list[float] = []
    for order in drawn:
        index = order.index(commit)
        before, after = tuple(sorted(order[:index])), tuple(sorted(order[: index + 1]))
        difference = _difference(gains, after, before, seed)
        if difference is None:
            return None
        added.append(difference)
    return sum(added) / len(added) if added else None


def _difference(gains: Mapping[tuple[Set, int], float], more: Set, fewer: Set, seed: int) -> float | None:
    with_it, without_it = gains.get((more, seed)), gains.get((fewer, seed))
    return None if with_it is None or without_it is None else with_it - without_it


def _means(values: Sequence[Sequence[float | None]]) -> list[Mean]:
    return [mean_interval([v for v in own if v is not None]) for own in values]
