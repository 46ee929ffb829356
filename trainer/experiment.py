"""Trainer: one experiment from edited source to Outcome, by one of three attempts: a template, a command, a law."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from datetime import UTC, datetime

from programs.common.closing import Closing
from programs.common.errors import EnvironmentProblem
from programs.common.ids import content_id
from trainer import constraints
from trainer.attempts import SOURCE_BYTES, Attempt, Conditions, LawAttempt, Spec, TemplateAttempt
from trainer.attempts.command import CommandAttempt
from trainer.charging import charge_for
from trainer.data import DataStore
from trainer.gpu import hardware_class
from trainer.jobs.job import Launcher, LauncherFault
from trainer.outcome import Cache, Outcome, Status, Trust
from trainer.scoring import Failed, Score, lowest
from trainer.scoring.referee import LEAST, ExperimentTally
from trainer.streams import DECIDING
from trainer.task import Task

__all__ = ["SOURCE_BYTES", "Outcome", "Spec", "Trainer"]

_ATTEMPTS = 3  # for an experiment whose launcher failed
_LATE_SECONDS = 0.02  # CPU time for stopping and saving that is not reported


def launcher_of(task: Task, sandbox: bool = True) -> Launcher:
    """A launcher that is not started yet; a task with a command only asks it whether to use a sandbox."""
    from trainer.sandbox.local import LocalLauncher  # for Linux alone

    return LocalLauncher(sandbox=sandbox, torch=task.torch, imports=task.imports)


def attempt_of(conditions: Conditions, launcher: Launcher | None, sandbox: bool) -> Attempt:
    """How the task trains: by its law if it has one, by its command if it has one, otherwise in forks of a template.

    ``launcher``: of a template, which the caller closes; None: one of its own, with or without a sandbox."""
    task = conditions.task
    if task.law is not None:
        return LawAttempt(conditions)
    if task.run is not None:
        return CommandAttempt(conditions, launcher.sandboxed if launcher else sandbox)
    return TemplateAttempt(conditions, launcher or launcher_of(task, sandbox), owned=launcher is None)


class Trainer(Closing):
    """Runs the experiments of one device, one after the other."""

    def __init__(
        self,
        task: Task,
        data: DataStore,
        *,
        launcher: Launcher | None = None,
        cache: Cache | None = None,
        fixed_steps: bool = False,
        sandbox: bool = True,
    ) -> None:
        self.task = task
        self.data = data
        self.fixed_steps = fixed_steps
        self.charge = charge_for(task)
        self.conditions = Conditions(task, data, self.charge, fixed_steps)
        self.attempt = attempt_of(self.conditions, launcher, sandbox)
        self.cache = None if self.attempt.instant else cache
        self.lease: Callable[[], AbstractContextManager[None]] = nullcontext  # held during training
        self.alone: Callable[[], AbstractContextManager[None]] = nullcontext  # in its place: nothing else trains
        self.waited = 0.0  # seconds that the current or last experiment waited for its device

    @property
    def instant(self) -> bool:
        """Whether experiments are too fast to need a thread."""
        return self.attempt.instant

    @property
    def launcher(self) -> Launcher:
        """Of a task with a template."""
        assert isinstance(self.attempt, TemplateAttempt)
        return self.attempt.launcher

    @property
    def command(self) -> CommandAttempt:
        """Of a task with a command: what its last run left."""
        assert isinstance(self.attempt, CommandAttempt)
        return self.attempt

    def close(self) -> None:
        """Close what this trainer started."""
        self.attempt.close()

    def another(self) -> Trainer:
        """Another trainer of the same kind, with the same data and cache, for another device, with its own launcher."""
        return type(self)(
            self.task, self.data, cache=self.cache, fixed_steps=self.fixed_steps, sandbox=self.attempt.sandboxed
        )

    def key(self, spec: Spec) -> str:
        """Cache key: everything that an outcome depends on."""
        budget = (
            f"steps {self.task.steps_of(spec.fraction)}"
            if self.fixed_steps
            else f"seconds {self.task.budget_seconds!r}"
        )
        seeds = (str(self.data.labelled(label).split_seed(spec.stream)) for label in spec.splits)
        split = " ".join((spec.stream, *seeds))
        parts = (spec.source.source_id, str(spec.seed), self.task.task_id, split, repr(spec.fraction), budget)
        shut = "sandboxed" if self.attempt.sandboxed else "unverified"
        key = content_id("o", *parts, hardware_class(self.task.device), shut)
        return key if self.attempt.key_parts is None else content_id("o", key, *self.attempt.key_parts)

    def run(self, spec: Spec, *, use_cache: bool = True, alone: bool = False) -> Outcome:
        """Train and score; ``alone``: while nothing else trains.

        Never raises for the candidate's errors; ``fault`` is a failure of our own machinery.
        """
        started_at, began = datetime.now(UTC).isoformat(timespec="milliseconds"), time.monotonic()
        self.waited = 0.0
        key = self.key(spec) if self.cache else ""
        outcome = self.cache.get(key) if self.cache and use_cache else None
        if outcome is not None:
            outcome = replace(outcome, cached=True, device_seconds_spent=0.0)
        reason, attempts = "", _ATTEMPTS
        while outcome is None and attempts:
            requested = time.monotonic()
            attempts -= 1
            try:
                # waiting for a device counts neither against the attempt's limits nor in its times
                with self.alone() if alone else self.lease(), self.charge.hold():
                    self.waited += time.monotonic() - requested
                    outcome = self._attempt(spec)
            except (LauncherFault, OSError, EnvironmentProblem) as error:
                reason = _why(error)
                continue
            if self.cache:
                self.cache.put(key, outcome)
        outcome = outcome or Outcome("fault", None, 0.0, 0.0, 0.0, reason=reason)
        return replace(outcome, started_at=started_at, began=began + self.waited, ended=time.monotonic())

    def _attempt(self, spec: Spec) -> Outcome:
        if (untrained := self._untrained(spec)) is not None:
            return untrained
        self.attempt.prepare(spec)
        tally = ExperimentTally()
        status: Status = "ok"
        score, reason = None, ""
        with self.charge.watch(tally):
            started = time.monotonic()
            try:
                score = self.attempt.score(spec, tally)
            except Failed as failed:
                status, reason = failed.status, failed.reason
            wall = 0.0 if self.attempt.instant else time.monotonic() - started
        charged, spent = self.charge.seconds(self.task, tally, wall)
        charged = max(0.0, charged - tally.further_cpu)  # what an experiment costs that is scored once
        measured: dict[str, float] = {}
        if score is not None:
            tally.findings += self._beyond_budget(spec, tally)
            measured = self._measured(spec, tally)
            if reason := constraints.broken(self.task.constraints, measured, full=spec.fraction >= 1.0):
                status, score = "invalid", None
        return Outcome(
            status=status,
            metric=score.metric if score else None,
            device_seconds_charged=self.conditions.price(spec, charged),
            device_seconds_spent=spent,
            wall_seconds=wall,
            steps=tally.steps or _printed_steps(tally.log),
            peak_memory_mb=round(tally.memory_mb, 1),
            utilization=tally.utilization,
            training_seconds=tally.longest.get("train"),
            prediction_seconds=tally.longest.get("predict"),
            reason=reason,
            log=tally.log,
            trust=self._trust(spec, score),
            findings=tuple(tally.findings) + (score.findings if score else ()),
            constraints=measured,
            splits=score.splits if score else {},
            further_seconds=tally.further_cpu,
            rows=tally.rows if score else None,
        )

    def _untrained(self, spec: Spec) -> Outcome | None:
        """The outcome of a source that breaks a limit of its lines: charged like launch and scoring, never trained."""
        lines = {name: constraint for name, constraint in self.task.constraints.items() if constraint.kind == "lines"}
        counted = constraints.values(lines, spec.source, None)
        reason = constraints.broken(lines, counted)
        if not reason:
            return None
        charged = self.conditions.price(spec, max(LEAST, self.task.scoring_seconds))
        return Outcome(
            "invalid", None, charged, 0.0, 0.0, reason=reason, trust=self._trust(spec, None), constraints=counted
        )

    def _trust(self, spec: Spec, score: Score | None) -> Trust:
        """What stream and sandbox give, or less: a scorer, which may be a plug-in, cannot raise it."""
        if score is None and self.attempt.trust_of_failure:
            return self.attempt.trust_of_failure
        most: Trust = "verified" if spec.stream in DECIDING else "scored"
        claimed = lowest(most, score.trust) if score else most
        return claimed if self.attempt.sandboxed else "unverified"

    def _measured(self, spec: Spec, tally: ExperimentTally) -> dict[str, float]:
        """The values of the task's constraints after a training. LauncherFault if a GPU's memory is not known."""
        memory = tally.device_memory_mb if self.task.device == "gpu" else tally.training_memory_mb
        if memory is None and any(
            constraint.kind == "memory_mb" and constraint.hard for constraint in self.task.constraints.values()
        ):
            raise LauncherFault("the driver gave no memory of the GPU, which a constraint of the task limits")
        used = constraints.Trained(tally.training_seconds or 0.0, memory, (tally.result, tally.log))
        return constraints.values(self.task.constraints, spec.source, used)

    def _beyond_budget(self, spec: Spec, tally: ExperimentTally) -> list[str]:
        """The finding for a verification that trained beyond its budget; it is allowed up to the limit, and charged."""
        trained, budget = tally.longest.get("train", 0.0), self.task.budget_seconds * spec.fraction
        if self.fixed_steps or spec.stream not in DECIDING or trained <= self.task.hard_factor * budget + _LATE_SECONDS:
            return []
        return [f"clock: trained for {trained:.3f} CPU-s, the budget is {budget:g}"]


def _why(error: Exception) -> str:
    """One line about a failure of our own: with its hint if the user can fix it, with its type if it is internal."""
    if isinstance(error, EnvironmentProblem):
        return error.message.splitlines()[0] + (f" ({error.hint})" if error.hint else "")
    return f"{type(error).__name__}: {error}".splitlines()[0]


def _printed_steps(log: str) -> int | None:
    """The ``steps:`` line of the summary; shown, never used for scoring or charging."""
    matches = re.findall(r"^(?:num_)?steps:\s*(\d{1,12})\s*$", log, re.MULTILINE)
    return int(matches[-1]) if matches else None
