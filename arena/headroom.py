"""Headroom: does any single change of the untouched script help, as far as a few trainings can show?

The untouched script is trained under some seeds, each change once, and the change that looked best again under fresh
seeds. Only these last trainings estimate its gain, so that the choice does not flatter it. All of them are scored on
the split that runs see, under seeds that nothing else uses; what they cost belongs to the study.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from analysis.power import RunSample, detectable, pooled
from analysis.wording import many
from arena.executor import Executor
from arena.harvest import HEADROOM, HarvestCandidate, Trainings, untouched
from arena.task_study import TaskStudy
from programs.errors import TaskError
from trainer.edits import Edit
from trainer.streams import Streams
from trainer.task import Task

SHARE = 0.1  # of a budget, at most, that a study spends on it without being asked


@dataclass(frozen=True)
class HeadroomSize:
    """Trainings of the untouched script, single changes, and further trainings of the best of them."""

    baselines: int
    changes: int
    again: int

    @property
    def experiments(self) -> int:
        return self.baselines + self.changes + self.again


SIZES = (HeadroomSize(4, 8, 3), HeadroomSize(3, 4, 2))  # the largest first
Train = Callable[[str, Sequence[tuple[HarvestCandidate, int]]], list[float | None]]  # stage, trainings → metrics


def size_of(experiments: int) -> HeadroomSize | None:
    """The size with so many experiments; None for 0 or another number."""
    return next((size for size in SIZES if size.experiments == experiments), None)


def size_within(experiments: float) -> HeadroomSize | None:
    """The largest that takes SHARE of so many experiments or less; None if none does."""
    return next((size for size in SIZES if size.experiments <= SHARE * experiments + 1e-9), None)


@dataclass(frozen=True)
class HeadroomFound:
    """The gain of the change that looked best, in the metric's unit; None if it, or every change, failed.

    ``low`` and ``high``: its 95% interval; ``sd``: between seeds; ``noticed``: the gain that is found with 80% power.
    """

    task: str
    unit: str
    changes: int
    failed: int
    best: str
    gain: float | None
    low: float | None
    high: float | None
    sd: float | None
    noticed: float | None

    @property
    def room(self) -> bool:
        return self.low is not None and self.low > 0

    def sentence(self) -> str:
        if self.gain is None or self.low is None or self.high is None:
            return f"{self.task}: {self._failure()}: no room could be seen"
        best = f"{self.task}: the best of {many(self.changes, 'single change')} ({self.best})"
        size = f"{self.gain:.3g} [{self.low:.3g}, {self.high:.3g}]" + (f" {self.unit}" if self.unit else "")
        noise = f"the SD between seeds is {self.sd:.2g}"
        if self.room:
            return f"{best} beats the unchanged script by {size}; {noise}: there is room"
        missed = f" (a gain below {self.noticed:.2g} would not have been noticed)" if self.noticed else ""
        return f"{best} gains {size} over the unchanged script; {noise}: no room could be seen{missed}"

    def _failure(self) -> str:
        if self.failed == self.changes:
            return f"{many(self.changes, 'single change')} tried, and each failed"
        return f"{self.best}, the best of {many(self.changes, 'single change')}, failed under another seed"


def headroom(on: TaskStudy, executor: Executor, edits: Sequence[Edit], size: HeadroomSize) -> HeadroomFound:
    """Train and record what the ledger does not have yet. Raises Drained where the study is stopped meanwhile."""
    trainings = Trainings(on, executor, HEADROOM)

    def train(stage: str, wanted: Sequence[tuple[HarvestCandidate, int]]) -> list[float | None]:
        return [event.metric for event in trainings.train(stage, "search", 0, wanted)]

    return measured(on.task, edits, size, seeds_of(on.streams, on.task, size), train)


def seeds_of(streams: Streams, task: Task, size: HeadroomSize) -> list[int]:
    """Training seeds of the untouched script, then those of the best change."""
    return [streams.seed("search", HEADROOM, task.name, number) for number in range(size.baselines + size.again)]


def measured(
    task: Task, edits: Sequence[Edit], size: HeadroomSize, seeds: Sequence[int], train: Train
) -> HeadroomFound:
    """The test, with ``train`` as what trains: ``seeds`` are those of the baseline, then those of the best change."""
    first, fresh = seeds[: size.baselines], seeds[size.baselines :]
    chosen = [changed(task, edit) for edit in edits[: size.changes]]
    before = train("search", [(untouched(task), seed) for seed in first] + [(one, first[0]) for one in chosen])
    baseline = [value for value in before[: len(first)] if value is not None]
    looks = [
        (task.sign * value, -number, one)
        for number, (one, value) in enumerate(zip(chosen, before[len(first) :], strict=True))
        if value is not None
    ]
    failed = len(chosen) - len(looks)
    if len(baseline) < len(first):
        raise TaskError(f"{task.folder}: the unchanged script fails", hint="metaloop task check tests it")
    if not looks:
        return _nothing(task, len(chosen), failed, "")
    best = min(looks, key=lambda look: (look[0], -look[1]))[2]
    again = [value for value in train("again", [(best, seed) for seed in fresh]) if value is not None]
    if len(again) < len(fresh):
        return _nothing(task, len(chosen), failed, best.edit.label())
    return compared(task, baseline, again, len(chosen), failed, best.edit)


def changed(task: Task, edit: Edit) -> HarvestCandidate:
    return HarvestCandidate(task.edits.apply(task.baseline(), edit), "single", edit)


def compared(
    task: Task, baseline: Sequence[float], again: Sequence[float], changes: int, failed: int, edit: Edit
) -> HeadroomFound:
    """Student's test of the two means, with the SD of both together: there are too few trainings for one of each."""
    from scipy.special import stdtrit

    sd, df = pooled([baseline, again]) or (0.0, 1)
    gain = task.sign * (statistics.fmean(baseline) - statistics.fmean(again))
    half = float(stdtrit(df, 0.975)) * sd * math.sqrt(1 / len(baseline) + 1 / len(again))
    noticed = detectable(RunSample(sd, len(baseline)), RunSample(sd, len(again)))
    return HeadroomFound(
        task.name, task.unit, changes, failed, edit.label(), gain, gain - half, gain + half, sd, noticed
    )


def _nothing(task: Task, changes: int, failed: int, best: str) -> HeadroomFound:
    return HeadroomFound(task.name, task.unit, changes, failed, best, None, None, None, None, None)
