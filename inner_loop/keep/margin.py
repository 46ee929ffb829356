"""Keep a candidate that is better by a margin, in standard deviations of the baseline's seed noise."""

from __future__ import annotations

import math

from inner_loop.bench import Bench
from inner_loop.citations import Citations
from inner_loop.comparison import gain_over
from inner_loop.contracts import KeepVerdict
from inner_loop.keep.better import verdict
from inner_loop.record import Record, measurements
from programs.charter import Keep
from trainer.edits import Edit
from trainer.task import Task

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
        self._sd = card_sd(bench.task)
        if self._sd is not None:
            return
        have = len(measurements(bench.history, bench.baseline.source.source_id))
        for replicate in range(have, BASELINE_SEEDS):
            record = bench.experiment(
                Edit(),
                parent=bench.baseline,
                because=self._because,
                replicate=replicate,
                description=f"baseline, seed {replicate}: noise",
            )
            bench.decide(record, "replicate", "noise of the baseline")
        self._sd = _sd(list(measurements(bench.history, bench.baseline.source.source_id).values()))

    def judge(self, bench: Bench, candidate: Record, parent: Record, *, earn: float = 0.0) -> KeepVerdict:
        needed = max(earn, self._margin * (self._sd or 0.0))
        return verdict(gain_over(bench, candidate, parent), needed, bench.task.unit)


def card_sd(task: Task) -> float | None:
    """The baseline's measured seed sd from the task's card, in metric units."""
    baseline = (task.card or {}).get("baseline")
    sd = baseline.get("sd") if isinstance(baseline, dict) else None
    return float(sd) if isinstance(sd, int | float) else None


def _sd(values: list[float]) -> float:
    """Sample standard deviation; 0 for fewer than two values."""
    if len(values) < 2:
        return 0.0
    mean = sum(values) / len(values)
    return math.sqrt(sum((value - mean) ** 2 for value in values) / (len(values) - 1))


def make(keep: Keep, citations: Citations) -> Margin:
    return Margin(keep.margin, citations.cite("keep.rule", "keep.margin"))
