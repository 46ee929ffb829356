"""Keep a better candidate: the stock loop's rule."""

from __future__ import annotations

from inner_loop.bench import Bench
from inner_loop.citations import Citations
from inner_loop.comparison import gain_over
from inner_loop.contracts import KeepVerdict
from inner_loop.record import Record
from programs.charter import Keep


class Better:
    """Better by mean over the training seeds that both were measured with."""

    name = "better"
    extra = 0

    def prepare(self, bench: Bench) -> None:
        """Needs nothing."""

    def judge(self, bench: Bench, candidate: Record, parent: Record, *, earn: float = 0.0) -> KeepVerdict:
        gain = gain_over(bench, candidate, parent)
        return verdict(gain, earn, bench.task.unit)


def verdict(gain: float | None, needed: float, unit: str, what: str = "") -> KeepVerdict:
    """Keep if the gain exceeds the required gain. A candidate without a comparison is not kept."""
    if gain is None:
        return KeepVerdict(False, "nothing to compare it with")
    keep = gain > needed
    need = f", needs more than {needed:.6g}" if needed > 0 else ""
    return KeepVerdict(keep, f"{'better' if keep else 'not better'}: {gain:+.6f} {unit}{what}{need}", gain)


def make(keep: Keep, citations: Citations) -> Better:
    return Better()
