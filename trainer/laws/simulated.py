"""SimulatedTrainer: computes the outcome of an experiment from the task's law, in microseconds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from programs.common.errors import TaskError
from trainer.commands.trainer import CommandTrainer
from trainer.data import DataStore
from trainer.experiment import Spec, Trainer
from trainer.jobs.job import Ended, Job, Launcher, LauncherFault
from trainer.laws.law import Law
from trainer.outcome import Cache, Outcome, Trust
from trainer.task import Task

_VERIFYING = ("confirmation", "reserve")
_CRASHED_AT = 0.5  # share of the training time that a crash is charged


class SimulatedTrainer(Trainer):
    """Has the interface, budgets and charges of the real trainer, but trains nothing, without processes or hidden data.

    A row is `scored`, on the deciding streams `verified`, with and without a sandbox, because the task's own law gives
    the metric and the source is never run.

    An experiment is charged its nominal cost. The part above the soft budget is launch and scoring and does not scale
    with the fraction. ``device_seconds_spent`` equals the charge, ``wall_seconds`` is 0. Outcomes are not cached,
    because computing them is faster than reading a file.
    """

    instant = True

    def __init__(self, task: Task, data: DataStore, *, fixed_steps: bool = False) -> None:
        super().__init__(task, data, launcher=_Idle(), fixed_steps=fixed_steps)
        if task.law is None:
            raise TaskError(f"{task.folder}: task.toml has no [law]", hint='[score] kind = "simulated" needs one')
        self._law: Law = task.law

    def another(self) -> Trainer:
        return self  # it has no state, so devices can share it

    def _attempt(self, spec: Spec) -> Outcome:
        config = self.task.edits.config(spec.source)
        steps = self.steps(spec.fraction)
        known = all(isinstance(value, bool | int | float | str) for value in config.values())
        if len(config) < len(self._law.before) or not known:
            gone = next((name for name in self._law.before if name not in config), "a constant")
            return self._outcome(spec, "invalid", None, f"the law does not cover a source without {gone}", steps)
        result = self._law.simulate(
            config, spec.source.source_id, seed=spec.seed, stream=spec.stream, fraction=spec.fraction, block=spec.block
        )
        return self._outcome(spec, "crash" if result.crash else "ok", result.metric, result.crash, steps)

    def _outcome(self, spec: Spec, status: Any, metric: float | None, reason: str, steps: int) -> Outcome:
        soft = spec.fraction * self.task.budget_seconds * (1.0 if status == "ok" else _CRASHED_AT)
        seconds = max(0.0, self.task.cost_seconds - self.task.budget_seconds) + soft
        if self.fixed_steps:
            seconds = steps * self.task.seconds_per_step
        trust: Trust = "verified" if spec.stream in _VERIFYING and status == "ok" else "scored"
        return Outcome(
            status=status,
            metric=metric,
            device_seconds_charged=seconds,
            device_seconds_spent=seconds,
            wall_seconds=0.0,
            steps=steps if status == "ok" else None,
            reason=reason,
            trust=trust,
        )


def trainer_for(
    task: Task,
    data: DataStore,
    *,
    launcher: Launcher | None = None,
    cache: Cache | None = None,
    fixed_steps: bool = False,
    sandbox: bool = True,
) -> Trainer:
    """The trainer for a task: simulated if it has a law, by its command if it has one, otherwise with a launcher."""
    if task.law is not None:
        return SimulatedTrainer(task, data, fixed_steps=fixed_steps)
    if task.run is not None:
        sandboxed = launcher.sandboxed if launcher else sandbox
        return CommandTrainer(task, data, cache=cache, fixed_steps=fixed_steps, sandbox=sandboxed)
    return Trainer(task, data, launcher=launcher, cache=cache, fixed_steps=fixed_steps, sandbox=sandbox)


class _Idle:
    """A launcher that launches nothing."""

    constant = 0.0
    sandboxed = True  # nothing runs, so nothing can escape

    def start(self, data: Path | None = None) -> None:
        """Does nothing."""

    def run(self, job: Job, attend: Any = None) -> Ended:
        raise LauncherFault("a simulated task launches no process")

    def close(self) -> None:
        """Does nothing."""
