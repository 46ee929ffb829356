"""What a trainer asks of an attempt: a warm template, a command, or the law of a simulated task trains and scores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from trainer.charging import Charge
from trainer.data import DataStore
from trainer.outcome import Trust
from trainer.sandbox.launcher import ProcessLimits
from trainer.scoring import Failed, Score
from trainer.scoring.referee import LEAST, ExperimentTally
from trainer.source import Source
from trainer.streams import Stream
from trainer.task import Task

SOURCE_BYTES = 64 << 10  # of all editable files together, so that trained weights do not fit
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

    def limits(self, fraction: float, file_mb: int, trained: ExperimentTally | None = None) -> ProcessLimits:
        """Limits of training, or of each scoring process: the same limits minus the use by ``trained``."""
        factor = _FIXED_STEP_LINE if self.fixed_steps else 1.0
        cpu, wall = (line * factor for line in self.charge.lines(self.task, fraction))
        if trained is not None:
            cpu, wall = self.charge.left(self.task, trained, cpu, wall)
        return ProcessLimits(cpu, wall, self.task.memory_mb, file_mb)


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
