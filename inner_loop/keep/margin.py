"""Keep a candidate that is better by a margin, in standard deviations of the baseline's seed noise."""

from __future__ import annotations

import statistics

from inner_loop.bench import Bench
from inner_loop.citations import Citations
from inner_loop.comparison import gain_over, measurements
from inner_loop.contracts import KeepVerdict
from inner_loop.events import Experiment
from inner_loop.keep.better import verdict
from programs.charter import Keep
from trainer.edits import Edit

#: Training seeds of the baseline, used if the task's card has no measured sd.
BASELINE_SEEDS = 3


class Margin:
    """The sd comes from the task's card, else from replicates of the baseline that the run buys at its start."""

    name = "margin"
    extra = 0

    def __init__(self, margin: float, because: tuple[str, ...] = ()) -> None:
        self._margin = margin
        self._because = because
        self._sd: float | None = None

    def prepare(self, bench: Bench) -> None:
        self._sd = bench.task.seed_sd
        if self._sd is not None:
            return
        have = len(measurements(bench.history, bench.baseline.source.source_id))
        for replicate in range(have, BASELINE_SEEDS):
            record = bench.experiment(
                Edit(),
                parent=bench.baseline,
                directive_ids=self._because,
                replicate=replicate,
                description=f"baseline, seed {replicate}: noise",
            )
            bench.decide(record, "replicate", "noise of the baseline")
        values = measurements(bench.history, bench.baseline.source.source_id).values()
        self._sd = statistics.stdev(values) if len(values) > 1 else None

    def judge(self, bench: Bench, candidate: Experiment, parent: Experiment, *, earn: float = 0.0) -> KeepVerdict:
        if self._sd is None:
            reason = "undecided: the noise of the baseline is unknown, because further seeds of it failed"
            return KeepVerdict(False, reason, undecided=True)
        needed = max(earn, self._margin * self._sd)
        return verdict(gain_over(bench, candidate, parent), needed, bench.task.unit)


def make(keep: Keep, citations: Citations) -> Margin:
    return Margin(keep.margin, citations.cite("keep.rule", "keep.margin"))
