"""How a trainer trains and scores: by a warm template, by the law of a simulated task, or by a command (`command`)."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from programs.common.errors import TaskError
from trainer.charging import Charge
from trainer.data import DataStore
from trainer.jobs.job import ForkedJob, Launcher, Limits
from trainer.outcome import Trust
from trainer.sandbox.blob import Blob
from trainer.scoring import Failed, Score, lowest, mean_score, scorer_of
from trainer.scoring.referee import LEAST, ExperimentTally, Referee, judge
from trainer.source import Source
from trainer.streams import Stream
from trainer.task import Task

SOURCE_BYTES = 64 << 10  # of all editable files together, so that trained weights do not fit
_CRASHED_AT = 0.5  # share of the training time that a crash is charged
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


@dataclass(frozen=True)
class Conditions:
    """What all experiments of one trainer have in common."""

    task: Task
    data: DataStore
    charge: Charge
    fixed_steps: bool

    def price(self, spec: Spec, measured: float) -> float:
        """What an experiment is charged, in device-seconds: as measured; with fixed steps, the price of its steps."""
        return self.task.steps_of(spec.fraction) * self.task.seconds_per_step if self.fixed_steps else measured

    def limits(self, fraction: float, file_mb: int, trained: ExperimentTally | None = None) -> Limits:
        """Limits of training, or of each scoring process: the same limits minus the use by ``trained``."""
        factor = _FIXED_STEP_LINE if self.fixed_steps else 1.0
        cpu, wall = (line * factor for line in self.charge.lines(self.task, fraction))
        if trained is not None:
            cpu, wall = self.charge.left(self.task, trained, cpu, wall)
        return Limits(cpu, wall, self.task.memory_mb, file_mb=file_mb)


class Attempt(Protocol):
    """How one device trains and scores.

    ``instant``: an experiment is too fast to need a thread or a cache. ``key_parts``: what an outcome depends on beside
    the parts of every cache key; None: nothing. ``trust_of_failure``: the trust of an outcome without a metric; None:
    what the stream gives.
    """

    instant: bool
    sandboxed: bool
    key_parts: list[str] | None
    trust_of_failure: Trust | None

    def prepare(self, spec: Spec) -> None:
        """What an experiment needs and is not charged for. EnvironmentProblem or LauncherFault if that fails."""

    def score(self, spec: Spec, tally: ExperimentTally) -> Score:
        """The score; Failed if the candidate fails. ``tally`` records the cost in both cases."""

    def close(self) -> None:
        """End its processes."""


def refuse_large(source: Source, most_bytes: int, tally: ExperimentTally) -> None:
    """Raise Failed for a source of more than ``most_bytes``, which is charged the least that a process can cost."""
    if (size := sum(len(text.encode()) for _, text in source.files)) > most_bytes:
        tally.cpu += LEAST
        raise Failed("invalid", f"the source has {size} bytes, {most_bytes} at most")


class TemplateAttempt:
    """Forks of a warm template train and predict, in separate, untrusted processes.

    ``owned``: whether the launcher is closed with it.
    """

    instant = False
    key_parts: list[str] | None = None
    trust_of_failure: Trust | None = None

    def __init__(self, conditions: Conditions, launcher: Launcher, *, owned: bool) -> None:
        self.conditions = conditions
        self.launcher = launcher
        self.sandboxed = launcher.sandboxed
        self.scorer = scorer_of(conditions.task.scoring)
        self._owned = owned

    def prepare(self, spec: Spec) -> None:
        """Start the template with the data, because one without them would have to restart."""
        self.launcher.start(self._split())

    def score(self, spec: Spec, tally: ExperimentTally) -> Score:
        """The score; Failed if train.py or its predictions fail. ``tally`` records the cost in both cases."""
        refuse_large(spec.source, SOURCE_BYTES, tally)
        request = self.request(spec)
        with Blob() as checkpoint:
            wanted = {"checkpoint_out": checkpoint.fd} if self.scorer.needs_checkpoint else {}
            ended = self.launcher.run(replace(request, descriptors=wanted))
            tally.add(ended, self.launcher.constant, "train")
            judge(ended, request.limits, failure="crash")
            if ended.artifact:
                raise Failed("invalid", ended.artifact)
            limits = self.conditions.limits(max(1.0, spec.fraction), request.limits.file_mb, tally)
            scores: dict[str, Score] = {}
            for label in spec.splits:
                before = tally.cpu
                referee = Referee(
                    self.launcher,
                    self.conditions.data.labelled(label),
                    replace(request, limits=limits),
                    checkpoint if wanted else None,
                    stream=spec.stream,
                    seed=spec.seed,
                    scoring=self.conditions.task.scoring,
                    tally=tally,
                    checked=bool(scores),
                )
                scores[label] = self._score(referee, tally)
                tally.further_cpu += tally.cpu - before if len(scores) > 1 else 0.0
        return mean_score(scores)

    def _score(self, referee: Referee, tally: ExperimentTally) -> Score:
        import numpy  # noqa: F401 -- so that the first experiment does not pay for the import

        started = time.thread_time()
        try:
            score = self.scorer.score(referee)
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
            raise TaskError(
                f"the scorer {self.conditions.task.scoring['kind']} returned {metric!r:.60}, not a number"
            ) from None

    def request(self, spec: Spec) -> ForkedJob:
        """The training; the scoring processes share its files and environment."""
        task = self.conditions.task
        environment = {
            "METALOOP_TRAIN_SEED": str(spec.seed),
            "METALOOP_TRAIN_BUDGET": repr(task.budget_seconds * spec.fraction),
            "METALOOP_TRAIN_DEVICE": self.conditions.charge.device,
        }
        if self.conditions.fixed_steps:
            environment["METALOOP_TRAIN_STEPS"] = str(task.steps_of(spec.fraction))
        checkpoint_mb = task.scoring["checkpoint_mb"]
        return ForkedJob(
            ["train"],
            limits=self.conditions.limits(spec.fraction, 2 * checkpoint_mb),
            files={**task.laid_files(), **{name: text.encode() for name, text in spec.source.files}},
            environment=environment,
            data=self._split(),
            checkpoint_mb=checkpoint_mb,
        )

    def _split(self) -> Path | None:
        return self.conditions.data.train() if self.conditions.task.has_data else None

    def close(self) -> None:
        if self._owned:
            self.launcher.close()


class LawAttempt:
    """The law of the task gives the outcome, in microseconds: without processes or hidden data.

    A row is `scored`, on the deciding streams `verified`, with and without a sandbox, because the task's own law gives
    the metric and the source is never run.

    An experiment is charged its nominal cost. The part above the soft budget is launch and scoring and does not scale
    with the fraction. ``device_seconds_spent`` equals the charge, ``wall_seconds`` is 0. Outcomes are not cached,
    because computing them is faster than reading a file.
    """

    instant = True
    sandboxed = True  # nothing runs, so nothing can escape
    key_parts: list[str] | None = None
    trust_of_failure: Trust | None = "scored"

    def __init__(self, conditions: Conditions) -> None:
        assert conditions.task.law is not None
        self.conditions, self.law = conditions, conditions.task.law

    def prepare(self, spec: Spec) -> None:
        """Does nothing."""

    def score(self, spec: Spec, tally: ExperimentTally) -> Score:
        """The law's metric; Failed for a source that crashes, or that the law does not cover."""
        task = self.conditions.task
        share = _CRASHED_AT
        try:
            metric = self._metric(spec)
            share = 1.0
        finally:
            seconds = task.scoring_seconds + spec.fraction * task.budget_seconds * share
            tally.cpu = tally.wall = self.conditions.price(spec, seconds)
        tally.steps = task.steps_of(spec.fraction)
        return Score(metric, "verified")

    def _metric(self, spec: Spec) -> float:
        config = self.conditions.task.edits.config(spec.source)
        if missing := next((name for name in self.law.before if name not in config), ""):
            raise Failed("invalid", f"the law does not cover a source without {missing}")
        result = self.law.simulate(
            config, spec.source.source_id, seed=spec.seed, stream=spec.stream, fraction=spec.fraction, block=spec.block
        )
        if result.metric is None:
            raise Failed("crash", result.crash)
        return result.metric

    def close(self) -> None:
        """Does nothing."""
