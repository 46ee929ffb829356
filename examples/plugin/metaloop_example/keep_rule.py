"""Keep what is better, but a longer script has to gain more: 0.1% of the baseline's metric for each line it adds."""

from __future__ import annotations

from inner_loop.bench import Bench
from inner_loop.citations import Citations
from inner_loop.contracts import KeepVerdict
from inner_loop.keep.better import Better
from inner_loop.record import Record
from programs.charter import Keep

PER_LINE = 0.001


class Simpler:
    name = "simpler"
    extra = 0  # trainings that a judgement buys

    def prepare(self, bench: Bench) -> None:
        """Needs nothing."""

    def judge(self, bench: Bench, candidate: Record, parent: Record, *, earn: float = 0.0) -> KeepVerdict:
        added = max(0, lines(candidate) - lines(parent))
        price = added * PER_LINE * abs(bench.baseline.metric or 0.0)
        return Better().judge(bench, candidate, parent, earn=earn + price)


def lines(record: Record) -> int:
    return sum(len(text.splitlines()) for _, text in record.source.files)


def make(keep: Keep, citations: Citations) -> Simpler:
    return Simpler()
