"""Keep a candidate that is better by a margin, in standard deviations of the baseline's seed noise."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from inner_loop.bench import Bench
from inner_loop.comparison import gain_over, measurements
from inner_loop.contracts import KeepVerdict
from inner_loop.events import Experiment
from inner_loop.scripted.keep.better import verdict
from programs.charter import Keep
from trainer.task import Task

#: Training seeds of the baseline, used if the task's card has no measured sd.
BASELINE_SEEDS = 3


class Margin:
    """The sd comes from the task's card, else from seeds of the baseline that the run trains at its start."""

    name = "margin"

    def __init__(self, margin: float) -> None:
        self._margin = margin

    def baseline_seeds(self, task: Task) -> int:
        return BASELINE_SEEDS if task.seed_sd is None else 1

    def judge(
        self,
        bench: Bench,
        candidate: Experiment,
        parent: Experiment,
        further: Sequence[Experiment] = (),
        *,
        earn: float = 0.0,
    ) -> KeepVerdict:
        sd = bench.task.seed_sd
        if sd is None:
            metrics = measurements(bench.history, bench.baseline.source_id).values()
            if len(metrics) < 2:
                reason = "undecided: the noise of the baseline is unknown, because further seeds of it failed"
                return KeepVerdict(False, reason, undecided=True)
            sd = statistics.stdev(metrics)
        return verdict(gain_over(bench, candidate, parent), max(earn, self._margin * sd), bench.task.unit)


def make(keep: Keep) -> Margin:
    return Margin(keep.margin)
