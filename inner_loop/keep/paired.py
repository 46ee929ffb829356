"""Keep a candidate that is better on average over fresh paired seeds."""

from __future__ import annotations

from inner_loop.bench import Bench, BudgetSpent
from inner_loop.citations import Citations
from inner_loop.comparison import gain_over
from inner_loop.contracts import KeepVerdict
from inner_loop.keep.better import verdict
from inner_loop.record import Record
from programs.charter import Keep
from trainer.edits import Edit


class Paired:
    """A candidate that looks better is trained beside its parent with seeds that neither was chosen by.

    The first look picks candidates and is left out of the mean, which would be too high with it.
    """

    name = "paired"

    def __init__(self, pairs: int, because: tuple[str, ...] = ()) -> None:
        self.extra = 2 * pairs
        self._pairs = pairs
        self._because = because

    def prepare(self, bench: Bench) -> None:
        """Needs nothing."""

    def judge(self, bench: Bench, candidate: Record, parent: Record, *, earn: float = 0.0) -> KeepVerdict:
        first = verdict(gain_over(bench, candidate, parent), earn, bench.task.unit)
        if not first.keep:
            return first
        differences: list[float] = []
        for _ in range(self._pairs):
            if not bench.can_afford(count=2):
                break
            try:
                difference = self._pair(bench, candidate, parent)
            except BudgetSpent:  # the first of the pair cost more than expected
                break
            if difference is None:
                return KeepVerdict(False, "failed under a fresh seed")
            differences.append(difference)
        if not differences:
            return KeepVerdict(False, "better on its first seeds, but no budget left for a fresh pair", first.gain)
        mean = sum(differences) / len(differences)
        return verdict(mean, earn, bench.task.unit, f" over {len(differences)} fresh pairs")

    def _pair(self, bench: Bench, candidate: Record, parent: Record) -> float | None:
        """Gain of the candidate with one fresh seed; None if it failed. BudgetSpent if the budget ends before."""
        replicate = bench.next_replicate()
        pair: list[Record] = []
        for record in (candidate, parent):
            again = bench.experiment(
                Edit(),
                parent=record,
                because=self._because,
                replicate=replicate,
                description=f"{record.description}, fresh seed {replicate}",
            )
            bench.decide(again, "replicate", f"fresh pair of {candidate.number} and {parent.number}")
            pair.append(again)
        return bench.gain(pair[0], pair[1])


def make(keep: Keep, citations: Citations) -> Paired:
    return Paired(keep.pairs, citations.cite("keep.rule", "keep.pairs"))
