"""Sweep of a task: what each single edit does to its untouched script, and to better scripts that such edits lead to.

A sweep fills a knowledge base (`analysis.knowledge`) with effects by role. Its rounds start from the untouched script,
then from the script with the best edits of the round before, because an edit's effect depends on what is there.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from programs.errors import TaskError
from trainer.cards.measure import Progress, declared_edits, run_or_refuse, silent
from trainer.edits import Edit, EditError, Value
from trainer.experiment import Trainer
from trainer.outcome import Status
from trainer.source import Source
from trainer.task import Task
from trainer.values.roles import meaning

_AGAIN = 0.25  # share of a round's edits that are repeated, the best ones
_SEEDS = 3  # experiments with each of these
_STEPPED = 4  # edits of different knobs that are joined for the next round, at most
_FIRST = 4  # experiments with the script that a round starts from


@dataclass(frozen=True)
class EditTrial:
    """What one edit did to one script, in words of roles.

    ``context``: the script's value of each role before the edit; ``edit``: the new values, none for the script itself.
    ``before`` and ``after`` in the metric's unit; ``after`` is None if an experiment failed. ``se``: of the
    difference.
    """

    context: Mapping[str, Value]
    edit: Mapping[str, Value]
    status: Status
    before: float
    after: float | None
    se: float | None
    n: int


def role_values(task: Task, source: Source) -> dict[str, Value]:
    """The value of each role that the script has, as other tasks understand it."""
    return role_values_of(task, task.edits.config(source))


def role_values_of(task: Task, config: Mapping[str, Value]) -> dict[str, Value]:
    """The same of the values of its knobs."""
    values: dict[str, Value] = {}
    for knob in task.edits.knobs:
        if knob.role and knob.name in config:
            values.setdefault(knob.role, meaning(knob.role, config[knob.name]))
    return values


def moves(task: Task, source: Source) -> list[Edit]:
    """Every declared edit that changes the script, and each other optimizer with each learning rate."""
    edits = [edit for edit, _ in declared_edits(task, source)]
    optimizer, rate = task.edits.knob("@optimizer"), task.edits.knob("@learning_rate")
    if optimizer is None or rate is None or optimizer.kind != "choice":
        return edits
    now = task.edits.config(source).get(optimizer.name)
    return edits + [
        Edit({optimizer.name: rule, rate.name: value})
        for rule in optimizer.values
        if rule != now
        for value in rate.values
    ]


def expected_experiments(task: Task, rounds: int) -> int:
    """About how many experiments a sweep makes: scripts that edits lead to may allow more or fewer edits."""
    edits = len(moves(task, task.baseline()))
    return rounds * (_FIRST + edits + math.ceil(edits * _AGAIN) * (_SEEDS - 1) + _SEEDS)


def sweep(trainer: Trainer, rounds: int = 2, progress: Progress = silent) -> list[EditTrial]:
    """The effects of a task's edits, in ``rounds`` rounds; the first one is the untouched script itself.

    Raises TaskError if that fails.
    """
    return _Sweep(trainer, progress).effects(rounds)


class _Sweep:
    def __init__(self, trainer: Trainer, progress: Progress) -> None:
        self.trainer = trainer
        self.task = trainer.task
        self.progress = progress
        self.made = 0
        self.seeds: dict[str, int] = {}

    def effects(self, rounds: int) -> list[EditTrial]:
        source, trials = self.task.baseline(), list[EditTrial]()
        for number in range(rounds):
            before = [value for _, value in self._runs(source, _FIRST) if value is not None]
            if not before:
                if number:
                    break
                raise TaskError(f"{self.task.name}: the untouched script fails", hint="metaloop task check tests it")
            trials.append(self._effect(source, before, Edit(), [("ok", value) for value in before]))
            tried = self._round(source)
            trials += [self._effect(source, before, edit, runs) for edit, runs in tried.items()]
            source = self._next(source, statistics.mean(before), tried)
        return trials

    def _round(self, source: Source) -> dict[Edit, list[tuple[Status, float | None]]]:
        tried: dict[Edit, list[tuple[Status, float | None]]] = {}
        for edit in moves(self.task, source):
            try:
                tried[edit] = self._runs(self.task.edits.apply(source, edit), 1)
            except EditError:
                continue
        best = sorted((edit for edit in tried if tried[edit][0][1] is not None), key=lambda e: self._loss(tried[e]))
        for edit in best[: math.ceil(len(tried) * _AGAIN)]:
            tried[edit] += self._runs(self.task.edits.apply(source, edit), _SEEDS - 1)
        return tried

    def _next(self, source: Source, before: float, tried: Mapping[Edit, list[tuple[Status, float | None]]]) -> Source:
        """The script with the best edits of different knobs, or with the best alone where they do not go together."""
        sign = self.task.sign
        good = sorted((e for e in tried if self._loss(tried[e]) < sign * before), key=lambda e: self._loss(tried[e]))
        if not good:
            return source
        best = alone = self.task.edits.apply(source, good[0])
        taken, joined = {*good[0].set, *good[0].apply}, 1
        for edit in good[1:]:
            names = {*edit.set, *edit.apply}
            if joined == _STEPPED or names & taken:
                continue
            try:
                best = self.task.edits.apply(best, edit)
            except EditError:
                continue
            taken, joined = taken | names, joined + 1
        together = self._runs(best, _SEEDS)
        return best if self._loss(together) <= self._loss(tried[good[0]]) else alone

    def _loss(self, runs: Iterable[tuple[Status, float | None]]) -> float:
        values = [value for _, value in runs]
        known = [value for value in values if value is not None]
        return self.task.sign * statistics.mean(known) if known and len(known) == len(values) else math.inf

    def _effect(
        self, source: Source, before: list[float], edit: Edit, runs: list[tuple[Status, float | None]]
    ) -> EditTrial:
        after = [value for _, value in runs if value is not None]
        status: Status = next((status for status, value in runs if value is None), "ok")
        context = role_values(self.task, source)
        changed = role_values(self.task, self.task.edits.apply(source, edit))
        sd = statistics.stdev(before) if len(before) > 1 else None
        failed = status != "ok"
        return EditTrial(
            context=context,
            edit={role: value for role, value in changed.items() if context.get(role) != value},
            status=status,
            before=statistics.mean(before),
            after=None if failed else statistics.mean(after),
            se=None if failed or sd is None else sd * math.sqrt(1 / len(before) + 1 / len(after)),
            n=len(runs),
        )

    def _runs(self, source: Source, count: int) -> list[tuple[Status, float | None]]:
        """``count`` more experiments with a script, each under a seed of its own."""
        runs: list[tuple[Status, float | None]] = []
        for _ in range(count):
            seed = self.seeds[source.source_id] = self.seeds.get(source.source_id, -1) + 1
            outcome = run_or_refuse(self.trainer, source, seed)
            self.made += 1
            runs.append((outcome.status, outcome.metric))
            if self.made % 50 == 0:
                self.progress(f"{self.made} experiments")
        return runs
