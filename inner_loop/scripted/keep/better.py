"""Keep a better candidate: the stock loop's rule. On a task with a command, better by the error of the difference."""

from __future__ import annotations

from collections.abc import Sequence

from inner_loop.bench import Bench
from inner_loop.comparison import WORDS, difference, least_gain
from inner_loop.contracts import KeepRule, KeepVerdict
from inner_loop.events import Experiment
from programs.charter import Keep


class Better(KeepRule):
    """Better by mean over the training seeds that both were measured with, by what the run asks of a gain."""

    name = "better"

    def judge(
        self,
        bench: Bench,
        candidate: Experiment,
        parent: Experiment,
        further: Sequence[Experiment] = (),
        *,
        earn: float = 0.0,
    ) -> KeepVerdict:
        compared = difference(bench, candidate, parent)
        if compared is None:
            return verdict(None, earn, bench.task.unit)
        return verdict(compared.value, earn, bench.task.unit, least=least_gain(bench, compared), se=compared.se)


def verdict(
    gain: float | None, needed: float, unit: str, what: str = "", *, least: float = 0.0, se: float | None = None
) -> KeepVerdict:
    """Keep if the gain exceeds the required gain, and is at least ``least``; within ``least`` it is undecided. A
    candidate without a comparison is not kept. ``se``: the gain's standard error."""
    if gain is None:
        return KeepVerdict(False, "nothing to compare it with")
    undecided = abs(gain) < least
    keep = gain > needed and not undecided
    need = f", needs more than {needed:.6g}" if needed > 0 and not undecided else ""
    word = WORDS["keep" if keep else "undecided" if undecided else "discard"]
    error = f" ± {se:.2g}" if se and least else ""
    return KeepVerdict(keep, f"{word}: {gain:+.6f}{error} {unit}{what}{need}", gain, se, undecided)


def make(keep: Keep) -> Better:
    return Better()
