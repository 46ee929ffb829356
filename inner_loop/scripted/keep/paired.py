"""Keep a candidate that is better on average over fresh paired seeds."""

from __future__ import annotations

from collections.abc import Sequence

from inner_loop.bench import Bench
from inner_loop.comparison import gain_over
from inner_loop.contracts import KeepRule, KeepVerdict, MoreSeeds
from inner_loop.events import Experiment
from inner_loop.scripted.keep.better import verdict
from programs.charter import Keep


class Paired(KeepRule):
    """A candidate that looks better is trained beside its parent with seeds that neither was chosen by.

    The first look picks candidates and is left out of the mean, which would be too high with it.
    """

    name = "paired"

    def __init__(self, pairs: int) -> None:
        self._pairs = pairs

    def judge(
        self,
        bench: Bench,
        candidate: Experiment,
        parent: Experiment,
        further: Sequence[Experiment] = (),
        *,
        earn: float = 0.0,
    ) -> KeepVerdict | MoreSeeds:
        gains: list[float] = []
        for new, old in zip(further[::2], further[1::2], strict=True):
            gain = bench.gain(new, old)
            if gain is None:
                return KeepVerdict(False, "failed under a fresh seed")
            gains.append(gain)
        if gains:
            so_far = verdict(sum(gains) / len(gains), earn, bench.task.unit, f" over {len(gains)} fresh pairs")
        else:
            so_far = verdict(gain_over(bench, candidate, parent), earn, bench.task.unit)
            if not so_far.keep:
                return so_far
            no_pair = "better on its first seeds, but no budget left for a fresh pair"
            so_far = KeepVerdict(False, no_pair, so_far.gain)
        if len(gains) == self._pairs:
            return so_far
        reason = f"fresh pair of {candidate.number} and {parent.number}"
        return MoreSeeds((candidate, parent), bench.next_replicate(), reason, so_far)


def make(keep: Keep) -> Paired:
    return Paired(keep.pairs)
