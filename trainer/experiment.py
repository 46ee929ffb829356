"""Trainer: one experiment from edited source to Outcome. Train and predict run apart; the referee is this process."""

from __future__ import annotations

import os
import re
import shutil
import stat
import time
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Self

from programs.errors import EnvironmentProblem
from programs.ids import content_id
from trainer.cache import Cache
from trainer.data import DataStore
from trainer.hardware import hardware_class
from trainer.launcher import (
    Ended,
    Launcher,
    LauncherFault,
    Limits,
    LocalLauncher,
    PredictRequest,
    TrainRequest,
)
from trainer.outcome import Outcome, Status
from trainer.scoring import InvalidPredictions, make_scorer
from trainer.source import Source
from trainer.streams import Stream
from trainer.task import Task

__all__ = ["Outcome", "Spec", "Trainer"]

_ATTEMPTS = 3  # of an experiment whose launcher failed
_FIXED_STEP_LINE = 40.0  # in fixed-step mode the hard line only stops what would never end
_PREDICTIONS_MB = 2048  # largest file of logits
_OUT_OF_MEMORY = re.compile(r"MemoryError|OutOfMemory|can't allocate memory|out of memory|Cannot allocate memory")


@dataclass(frozen=True)
class Spec:
    """What is to be run: a source, a training seed, the stream it is scored on, a fraction of the full budget."""

    source: Source
    seed: int
    stream: Stream = "search"
    fraction: float = 1.0


class _Failed(Exception):
    """The candidate failed; becomes its Outcome."""

    def __init__(self, status: Status, reason: str) -> None:
        super().__init__(reason)
        self.status: Status = status
        self.reason = reason


@dataclass
class _Tally:
    """What an experiment has used so far."""

    cpu: float = 0.0
    peak_memory_mb: float = 0.0
    log: str = ""

    def add(self, ended: Ended, constant: float) -> None:
        self.cpu += max(0.0, ended.cpu_seconds - constant)
        self.peak_memory_mb = max(self.peak_memory_mb, ended.peak_memory_mb)
        self.log += ended.log


class Trainer:
    """Runs the experiments of one worker, one after the other, on one warm launcher."""

    def __init__(
        self, task: Task, data: DataStore, *,
        launcher: Launcher | None = None, cache: Cache | None = None, fixed_steps: bool = False, sandbox: bool = True,
    ) -> None:  # fmt: skip
        self.task = task
        self.data = data
        self.launcher: Launcher = launcher or LocalLauncher()
        self._owns_launcher = launcher is None
        self.cache = cache
        self.fixed_steps = fixed_steps
        self.sandbox = sandbox
        self.scorer = make_scorer(task.scoring)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """End the launcher, if it is our own."""
        if self._owns_launcher:
            self.launcher.close()

    def steps(self, fraction: float = 1.0) -> int:
        """Training steps of an experiment in fixed-step mode."""
        return max(1, round(self.task.steps * fraction))

    def key(self, spec: Spec) -> str:
        """Cache key: everything that an outcome depends on."""
        budget = f"steps {self.steps(spec.fraction)}" if self.fixed_steps else f"seconds {self.task.budget_seconds!r}"
        split = f"{spec.stream} {self.data.split_seed(spec.stream)}"
        parts = (spec.source.source_id, str(spec.seed), self.task.task_id, split, repr(spec.fraction), budget)
        return content_id("o", *parts, hardware_class())

    def run(self, spec: Spec, *, use_cache: bool = True) -> Outcome:
        """Train and score. Never raises for what the candidate did; ``fault`` is a failure of our own machinery."""
        key = self.key(spec) if self.cache else ""
        if self.cache and use_cache and (known := self.cache.get(key)) is not None:
            return replace(known, cached=True, spent_seconds=0.0)
        reason = ""
        for _ in range(_ATTEMPTS):
            try:
                outcome = self._attempt(spec)
            except (LauncherFault, OSError, EnvironmentProblem) as error:
                cure = f" ({error.hint})" if isinstance(error, EnvironmentProblem) and error.hint else ""
                reason = f"{type(error).__name__}: {error}".splitlines()[0] + cure
                continue
            if self.cache:
                self.cache.put(key, outcome)
            return outcome
        return Outcome("fault", None, 0.0, 0.0, 0.0, reason=reason)

    def _attempt(self, spec: Spec) -> Outcome:
        self.launcher.start()
        started = time.monotonic()
        tally = _Tally()
        folder = self.launcher.workspace()
        status: Status = "ok"
        metric, reason = None, ""
        try:
            metric = self._train_and_score(spec, folder, tally)
        except _Failed as failed:
            status, reason = failed.status, failed.reason
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        nominal = self.steps(spec.fraction) * self.task.seconds_per_step
        return Outcome(
            status=status,
            metric=metric,
            device_seconds=nominal if self.fixed_steps else tally.cpu,
            spent_seconds=tally.cpu,
            wall_seconds=time.monotonic() - started,
            steps=_printed_steps(tally.log),
            peak_memory_mb=round(tally.peak_memory_mb, 1),
            reason=reason,
            log=tally.log,
        )

    def _train_and_score(self, spec: Spec, folder: Path, tally: _Tally) -> float:
        """The metric; _Failed if train.py or its predictions fail. ``tally`` holds the cost either way."""
        train, predict = folder / "train", folder / "predict"
        for place in (
            train,
            predict,
        ):  # predict gets files of its own: train.py may have changed what it ran from
            place.mkdir()
            spec.source.write(place)
            self.task.write_read_only(place)
        environment = self._environment(spec, train)
        limits = self._limits(spec.fraction, 2 * self.task.scoring["checkpoint_mb"])
        ended = self.launcher.train(TrainRequest(train, environment, limits))
        tally.add(ended, self.launcher.constant)
        _judge(ended, limits, failure="crash")
        checkpoint = self._take_checkpoint(train / "checkpoint.pt", predict / "checkpoint.pt")
        return self._score(spec, checkpoint, predict, environment, tally)

    def _score(self, spec: Spec, checkpoint: Path, folder: Path, environment: dict[str, str], tally: _Tally) -> float:
        scoring = self.task.scoring
        split, output = self.data.split(spec.stream), folder / "predictions.f32"
        limits = self._limits(1.0, _PREDICTIONS_MB)
        request = PredictRequest(
            folder, {**environment, "METALOOP_TRAIN_CHECKPOINT": str(checkpoint), "TMPDIR": str(folder)},
            limits, split / "inputs.npy", checkpoint, output,
            scoring["chunk"], scoring["classes"], self.scorer.per_position,
        )  # fmt: skip
        ended = self.launcher.predict(request)
        tally.add(ended, self.launcher.constant)
        _judge(ended, limits, failure="invalid")
        import numpy  # noqa: F401 -- its import is no part of the cost of the first experiment

        started = time.thread_time()
        try:
            return self.scorer.score(output, split)
        except InvalidPredictions as error:
            raise _Failed("invalid", str(error)) from None
        finally:
            tally.cpu += time.thread_time() - started

    def _environment(self, spec: Spec, folder: Path) -> dict[str, str]:
        environment = {
            "METALOOP_TRAIN_DATA": str(self.data.train()),
            "METALOOP_TRAIN_SEED": str(spec.seed),
            "METALOOP_TRAIN_BUDGET": repr(self.task.budget_seconds * spec.fraction),
            "METALOOP_TRAIN_CHECKPOINT": str(folder / "checkpoint.pt"),
            "METALOOP_TRAIN_DEVICE": "cpu",
            "TMPDIR": str(folder),
        }
        if self.fixed_steps:
            environment["METALOOP_TRAIN_STEPS"] = str(self.steps(spec.fraction))
        return environment

    def _limits(self, fraction: float, file_mb: int) -> Limits:
        factor = _FIXED_STEP_LINE if self.fixed_steps else 1.0
        cpu, wall = self.task.hard_line(fraction) * factor, self.task.wall_cap(fraction) * factor
        return Limits(cpu, wall, self.task.memory_mb, file_mb)

    def _take_checkpoint(self, source: Path, target: Path) -> Path:
        """Move the checkpoint out of the training folder, if it is a plain file of bounded size."""
        try:
            found = os.lstat(source)
        except OSError:
            raise _Failed("invalid", "train.py wrote no checkpoint") from None
        limit = self.task.scoring["checkpoint_mb"]
        if not stat.S_ISREG(found.st_mode) or found.st_size > limit << 20 or found.st_size == 0:
            raise _Failed("invalid", f"the checkpoint is no plain file of 1 byte to {limit} MB")
        try:
            os.replace(source, target)
        except OSError as error:  # its folders are not where they were: train.py moved or removed them
            raise _Failed("invalid", f"the checkpoint cannot be taken: {error.strerror}") from None
        return target


def _judge(ended: Ended, limits: Limits, failure: Status) -> None:
    """Raise _Failed for a tree that did not end well."""
    last = next((line for line in reversed(ended.log.splitlines()) if line.strip()), "")
    if ended.killed in ("cpu", "wall"):
        raise _Failed("timeout", f"killed at the hard line after {ended.cpu_seconds:.2f} CPU-s ({ended.killed})")
    if ended.killed:
        raise _Failed("crash", "killed: too many processes")
    if ended.exit_code == 0:
        return
    if ended.exit_code in (-9, -24) and ended.cpu_seconds > limits.cpu_seconds:
        raise _Failed("timeout", f"stopped by its CPU limit after {ended.cpu_seconds:.2f} CPU-s")
    if _OUT_OF_MEMORY.search(ended.error) or ended.exit_code == -9:
        raise _Failed("oom", ended.error or "killed from outside, as the kernel does when memory runs out")
    raise _Failed(failure, (ended.error or last or f"exit code {ended.exit_code}")[:500])


def _printed_steps(log: str) -> int | None:
    """The ``steps:`` line of the summary; shown, never used for anything that counts."""
    found = re.findall(r"^(?:num_)?steps:\s*(\d{1,12})\s*$", log, re.MULTILINE)
    return int(found[-1]) if found else None
