"""Trainer: one experiment from edited source to Outcome. Training and prediction are separate, untrusted processes."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

from programs.common.closing import Closing
from programs.common.errors import EnvironmentProblem, TaskError
from programs.common.ids import content_id
from trainer import constraints
from trainer.charging import Charge, charge_for
from trainer.data import DataStore
from trainer.gpu import hardware_class
from trainer.jobs.job import ForkedJob, Launcher, LauncherFault, Limits
from trainer.outcome import Cache, Outcome, Status, Trust
from trainer.sandbox.blob import Blob
from trainer.scoring import InvalidPredictions, Score, lowest, mean_score, scorer_of
from trainer.scoring.referee import LEAST, ExperimentTally, Failed, LocalReferee, judge
from trainer.source import Source
from trainer.streams import DECIDING, Stream
from trainer.task import Task

__all__ = ["Outcome", "Spec", "Trainer"]

SOURCE_BYTES = 64 << 10  # of all editable files together, so that trained weights do not fit
_ATTEMPTS = 3  # for an experiment whose launcher failed
_LATE_SECONDS = 0.02  # CPU time for stopping and saving that is not reported
_FIXED_STEP_LINE = 40.0  # factor of the hard limit in fixed-step mode, where it only stops endless runs


@dataclass(frozen=True)
class Spec:
    """An experiment to run: source, training seed, stream for scoring, fraction of the full budget.

    ``block`` names the match. It does not affect training; the law of a simulated task may drift between matches.
    ``splits`` names the hidden splits of the stream that this one training is scored on; empty: the study's own. The
    metric is the mean over them.
    """

    source: Source
    seed: int
    stream: Stream = "search"
    fraction: float = 1.0
    block: str = ""
    splits: tuple[str, ...] = ("",)


def launcher_of(task: Task, sandbox: bool = True) -> Launcher:
    """A launcher that is not started yet."""
    if task.run is not None:
        from trainer.commands.launcher import CommandLauncher

        return CommandLauncher(sandbox)
    from trainer.sandbox.local import LocalLauncher  # for Linux alone

    return LocalLauncher(sandbox=sandbox, torch=task.torch, imports=task.imports)


class Trainer(Closing):
    """Runs the experiments of one device, one after the other, on one warm launcher.

    ``instant``: experiments are too fast to need a thread. ``charge``: how the device is held and charged; the default
    depends on the task's device.
    """

    instant = False

    def __init__(
        self,
        task: Task,
        data: DataStore,
        *,
        launcher: Launcher | None = None,
        cache: Cache | None = None,
        fixed_steps: bool = False,
        sandbox: bool = True,
        charge: Charge | None = None,
    ) -> None:
        self.task = task
        self.data = data
        self.launcher: Launcher = launcher or launcher_of(task, sandbox)
        self.charge = charge or charge_for(task)
        self._owns_launcher = launcher is None
        self.cache = cache
        self.fixed_steps = fixed_steps
        self.scorer = scorer_of(task.scoring)
        self.lease: Callable[[], AbstractContextManager[None]] = nullcontext  # held during training
        self.alone: Callable[[], AbstractContextManager[None]] = nullcontext  # in its place: nothing else trains
        self.waited = 0.0  # seconds that the current or last experiment waited for its device

    def close(self) -> None:
        """Close the launcher if this trainer created it."""
        if self._owns_launcher:
            self.launcher.close()

    def another(self) -> Trainer:
        """Another trainer of the same kind, with the same data and cache, for another device, with its own launcher."""
        launcher = launcher_of(self.task, self.launcher.sandboxed)
        made = type(self)(self.task, self.data, launcher=launcher, cache=self.cache, fixed_steps=self.fixed_steps)
        made._owns_launcher = True
        return made

    def steps(self, fraction: float = 1.0) -> int:
        """Training steps of an experiment in fixed-step mode."""
        return self.task.steps_of(fraction)

    def key(self, spec: Spec) -> str:
        """Cache key: everything that an outcome depends on."""
        budget = f"steps {self.steps(spec.fraction)}" if self.fixed_steps else f"seconds {self.task.budget_seconds!r}"
        seeds = (str(self.data.labelled(label).split_seed(spec.stream)) for label in spec.splits)
        split = " ".join((spec.stream, *seeds))
        parts = (spec.source.source_id, str(spec.seed), self.task.task_id, split, repr(spec.fraction), budget)
        shut = "sandboxed" if self.launcher.sandboxed else "unverified"
        return content_id("o", *parts, hardware_class(self.task.device), shut)

    def run(self, spec: Spec, *, use_cache: bool = True, alone: bool = False) -> Outcome:
        """Train and score; ``alone``: while nothing else trains.

        Never raises for the candidate's errors; ``fault`` is a failure of our own machinery.
        """
        self.waited = 0.0
        key = self.key(spec) if self.cache else ""
        if self.cache and use_cache and (known := self.cache.get(key)) is not None:
            return replace(known, cached=True, device_seconds_spent=0.0)
        reason = ""
        for _ in range(_ATTEMPTS):
            requested = time.monotonic()
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
            return outcome
        return Outcome("fault", None, 0.0, 0.0, 0.0, reason=reason)

    def _attempt(self, spec: Spec) -> Outcome:
        if (untrained := self._untrained(spec)) is not None:
            return untrained
        self.launcher.start(self._split())  # with the data, because a template without them would have to restart
        self._prepare()
        tally = ExperimentTally()
        status: Status = "ok"
        score, reason = None, ""
        with self.charge.watch(tally):
            started = time.monotonic()
            try:
                score = self._train_and_score(spec, tally)
            except Failed as failed:
                status, reason = failed.status, failed.reason
            wall = time.monotonic() - started
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
            device_seconds_charged=self._price(spec, charged),
            device_seconds_spent=spent,
            wall_seconds=wall,
            steps=_printed_steps(tally.log),
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
        lines = {name: one for name, one in self.task.constraints.items() if one.kind == "lines"}
        counted = constraints.values(lines, spec.source, None)
        reason = constraints.broken(lines, counted)
        if not reason:
            return None
        charged = self._price(spec, max(LEAST, self.task.scoring_seconds))
        return Outcome(
            "invalid", None, charged, 0.0, 0.0, reason=reason, trust=self._trust(spec, None), constraints=counted
        )

    def _price(self, spec: Spec, measured: float) -> float:
        """What an experiment is charged, in device-seconds: as measured; with fixed steps, the price of its steps."""
        return self.steps(spec.fraction) * self.task.seconds_per_step if self.fixed_steps else measured

    def _trust(self, spec: Spec, score: Score | None) -> Trust:
        """What stream and sandbox give, or less: a scorer, which may be a plug-in, cannot raise it."""
        most: Trust = "verified" if spec.stream in DECIDING else "scored"
        claimed = lowest(most, score.trust) if score else most
        return claimed if self.launcher.sandboxed else "unverified"

    def _measured(self, spec: Spec, tally: ExperimentTally) -> dict[str, float]:
        """The values of the task's constraints after a training. LauncherFault if a GPU's memory is not known."""
        memory = tally.device_memory_mb if self.task.device == "gpu" else tally.training_memory_mb
        if memory is None and any(one.kind == "memory_mb" and one.hard for one in self.task.constraints.values()):
            raise LauncherFault("the driver gave no memory of the GPU, which a constraint of the task limits")
        used = constraints.Trained(tally.training_seconds or 0.0, memory, (tally.result, tally.log))
        return constraints.values(self.task.constraints, spec.source, used)

    def _beyond_budget(self, spec: Spec, tally: ExperimentTally) -> list[str]:
        """The finding for a verification that trained beyond its budget; it is allowed up to the limit, and charged."""
        trained, budget = tally.longest.get("train", 0.0), self.task.budget_seconds * spec.fraction
        if self.fixed_steps or spec.stream not in DECIDING or trained <= self.task.hard_factor * budget + _LATE_SECONDS:
            return []
        return [f"clock: trained for {trained:.3f} CPU-s, the budget is {budget:g}"]

    def _prepare(self) -> None:
        """What a kind of trainer does before its first experiment, without charge."""

    def _train_and_score(self, spec: Spec, tally: ExperimentTally) -> Score:
        """The score; Failed if train.py or its predictions fail. ``tally`` records the cost in both cases."""
        if (size := sum(len(text.encode()) for _, text in spec.source.files)) > SOURCE_BYTES:
            tally.cpu += LEAST
            raise Failed("invalid", f"the source has {size} bytes, {SOURCE_BYTES} at most")
        request = self._request(spec)
        with Blob() as checkpoint:
            wanted = {"checkpoint_out": checkpoint.fd} if self.scorer.needs_checkpoint else {}
            ended = self.launcher.run(replace(request, descriptors=wanted))
            tally.add(ended, self.launcher.constant, "train")
            judge(ended, request.limits, failure="crash")
            if ended.artifact:
                raise Failed("invalid", ended.artifact)
            limits = self._limits(max(1.0, spec.fraction), request.limits.file_mb, tally)
            scores: dict[str, Score] = {}
            for label in spec.splits:
                before = tally.cpu
                referee = LocalReferee(
                    self.launcher,
                    self.data.labelled(label),
                    replace(request, limits=limits),
                    checkpoint if wanted else None,
                    stream=spec.stream,
                    seed=spec.seed,
                    scoring=self.task.scoring,
                    tally=tally,
                    checked=bool(scores),
                )
                scores[label] = self._score(referee, tally)
                tally.further_cpu += tally.cpu - before if len(scores) > 1 else 0.0
        return mean_score(scores)

    def _score(self, referee: LocalReferee, tally: ExperimentTally) -> Score:
        import numpy  # noqa: F401 -- so that the first experiment does not pay for the import

        started = time.thread_time()
        try:
            score = self.scorer.score(referee)
        except InvalidPredictions as error:
            raise Failed("invalid", str(error)) from None
        finally:
            tally.cpu += time.thread_time() - started
        trust = score.trust or "verified"  # a plug-in may leave it to the stream
        if referee.read_log and not referee.answered:
            trust = lowest(trust, "self-reported")
        return Score(self._number(score.metric), trust, score.findings)

    def _number(self, metric: object) -> float:
        """Also of an array with one element, which a plug-in may return."""
        try:
            return float(getattr(metric, "item", lambda: metric)())  # type: ignore[arg-type]
        except (TypeError, ValueError):
            raise TaskError(f"the scorer {self.task.scoring['kind']} returned {metric!r:.60}, not a number") from None

    def _request(self, spec: Spec) -> ForkedJob:
        environment = {
            "METALOOP_TRAIN_SEED": str(spec.seed),
            "METALOOP_TRAIN_BUDGET": repr(self.task.budget_seconds * spec.fraction),
            **self.charge.environment,
        }
        if self.fixed_steps:
            environment["METALOOP_TRAIN_STEPS"] = str(self.steps(spec.fraction))
        checkpoint_mb = self.task.scoring["checkpoint_mb"]
        return ForkedJob(
            ["train"],
            limits=self._limits(spec.fraction, 2 * checkpoint_mb),
            files={**self.task.laid_files(), **{name: text.encode() for name, text in spec.source.files}},
            environment=environment,
            data=self._split(),
            checkpoint_mb=checkpoint_mb,
        )

    def _split(self) -> Path | None:
        return self.data.train() if self.task.has_data else None

    def _limits(self, fraction: float, file_mb: int, trained: ExperimentTally | None = None) -> Limits:
        """Limits of training, or of each scoring process: the same limits minus the use by ``trained``."""
        factor = _FIXED_STEP_LINE if self.fixed_steps else 1.0
        cpu, wall = (line * factor for line in self.charge.lines(self.task, fraction))
        if trained is not None:
            cpu, wall = self.charge.left(self.task, trained, cpu, wall)
        return Limits(cpu, wall, self.task.memory_mb, file_mb=file_mb)


def _why(error: Exception) -> str:
    """One line about a failure of our own: with its hint if the user can fix it, with its type if it is internal."""
    if isinstance(error, EnvironmentProblem):
        return error.message.splitlines()[0] + (f" ({error.hint})" if error.hint else "")
    return f"{type(error).__name__}: {error}".splitlines()[0]


def _printed_steps(log: str) -> int | None:
    """The ``steps:`` line of the summary; shown, never used for scoring or charging."""
    matches = re.findall(r"^(?:num_)?steps:\s*(\d{1,12})\s*$", log, re.MULTILINE)
    return int(matches[-1]) if matches else None
