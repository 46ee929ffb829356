"""Keep what is better, but a longer script has to gain more: 0.1% of the baseline's metric for each line it adds."""

from __future__ import annotations

from collections.abc import Sequence

from inner_loop.bench import Bench
from inner_loop.contracts import KeepRule, KeepVerdict
from inner_loop.events import Experiment
from inner_loop.scripted.keep.better import Better
from programs.charter import Keep

PER_LINE = 0.001


class Simpler(KeepRule):
    name = "simpler"

    def judge(
        self,
        bench: Bench,
        candidate: Experiment,
        parent: Experiment,
        further: Sequence[Experiment] = (),  # what it has asked for by `MoreSeeds`; this rule asks for nothing
        *,
        earn: float = 0.0,
    ) -> KeepVerdict:
        added = max(0, lines(candidate) - lines(parent))
        price = added * PER_LINE * abs(bench.baseline.metric or 0.0)
        return Better().judge(bench, candidate, parent, earn=earn + price)


def lines(record: Experiment) -> int:
    return sum(len(text.splitlines()) for _, text in record.source.files)


def make(keep: Keep) -> Simpler:
    return Simpler()
