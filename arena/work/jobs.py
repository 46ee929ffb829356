"""Jobs: what an executor carries out. A job is data; it may run anywhere, and twice without harm.

``task`` is the task_id of the one of the study's tasks that a job is for; empty: the first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, NotRequired

from pydantic import JsonValue, TypeAdapter
from typing_extensions import TypedDict  # pydantic refuses that of typing before Python 3.12

from analysis.ledger.events import Event, read_event
from arena.work.clock_rule import CpuUse
from inner_loop.contracts import UNPLANNED, TurnOrder
from inner_loop.events import RunEndedEvent
from trainer.streams import DECIDING, Stream


@dataclass(frozen=True)
class RunJob:
    """One run of one program from the task's baseline, then its verification on fresh seeds.

    ``budget`` in device-seconds; ``verify_seeds`` are training seeds on ``stream`` that no researcher sees, and
    ``verify_splits`` the labels of the hidden splits on which they are scored, one for each.
    ``luck`` names what proposals are drawn from: the run itself, or the one of a near-identical program.
    ``recorded`` holds the experiments that an interrupted attempt left in the ledger. ``beside``: names and texts of
    the programs that take turns with it in a night, in this ``order``; it goes on from the files ``start``, if it has
    any.
    """

    run_id: str
    match_id: str
    arm_id: str
    program_id: str
    program_name: str
    program_text: str
    run_seed: int
    stream: Stream
    budget: float
    researcher: str
    verify_seeds: tuple[int, ...]
    verify_splits: tuple[str, ...]
    luck: str
    recorded: tuple[Event, ...] = field(default=(), compare=False)
    kind: str = "run"
    task: str = ""
    beside: tuple[tuple[str, str], ...] = ()
    start: tuple[tuple[str, str], ...] = ()
    order: TurnOrder = UNPLANNED

    @property
    def job_id(self) -> str:
        return self.run_id

    def fresh(self, untouched: bool) -> tuple[tuple[int, str], ...]:
        """Seeds that the final source is trained on, each with its split; ``untouched``: it is the task's baseline.

        Where runs are chosen by their gains, and in a night, the baseline gains exactly 0. Where arms are compared for
        good, it is trained like any other source: what all verifications of a match share, and the shared baseline
        seeds do not, would else be counted as a difference of two arms that end there with unequal frequency.
        """
        if untouched and (self.stream not in DECIDING or self.beside):
            return ()
        return tuple(zip(self.verify_seeds, self.verify_splits, strict=True))


@dataclass(frozen=True)
class BaselineJob:
    """One training of the task's untouched baseline, for the values that gains are measured against; it is scored on
    each of the hidden ``splits`` of the stream."""

    stream: Stream
    seed: int
    kind: str = "baseline"
    task: str = ""
    splits: tuple[str, ...] = ("",)

    @property
    def job_id(self) -> str:
        return "-".join(filter(None, ["baseline", self.stream, str(self.seed), self.task, self.splits[0]]))


@dataclass(frozen=True)
class MeasureJob:
    """One training of any source, given as name and text of its files; ``fraction`` of an experiment's full budget.

    ``own``: what experiments of that source used (`arena.work.clock_rule`); a verification that uses more is invalid.
    ``split`` names one of further hidden splits of the stream; empty: the study's own.
    """

    job_id: str
    files: tuple[tuple[str, str], ...]
    stream: Stream
    seed: int
    fraction: float = 1.0
    kind: str = "measure"
    task: str = ""
    own: tuple[CpuUse, ...] = field(default=(), compare=False)
    split: str = ""


Job = RunJob | BaselineJob | MeasureJob


def to_json(job: Job) -> dict[str, JsonValue]:
    if not isinstance(job, RunJob):
        return asdict(job)
    return {**asdict(replace(job, recorded=())), "recorded": [event.to_record() for event in job.recorded]}


def from_json(data: Mapping[str, Any]) -> Job:
    fields = dict(data)
    kind = fields.pop("kind")
    if kind == "baseline":
        return BaselineJob(**{**fields, "splits": tuple(fields.get("splits", ("",)))})
    if kind == "measure":
        files = tuple((name, text) for name, text in fields["files"])
        return MeasureJob(**{**fields, "files": files, "own": tuple(CpuUse(**used) for used in fields["own"])})
    fields |= {name: tuple(fields[name]) for name in ("verify_seeds", "verify_splits")}
    fields |= {name: tuple((path, text) for path, text in fields[name]) for name in ("beside", "start")}
    fields["order"] = TurnOrder(*fields["order"])
    fields["recorded"] = tuple(event for record in fields["recorded"] if (event := read_event(record)))
    return RunJob(**fields)


@dataclass(frozen=True)
class Measurement:
    """The referee's value of one source under one fresh seed; what it took in device-seconds and on the clock.

    ``device_seconds_spent`` is 0 if the cache had it; ``charged_seconds`` is what a run would be charged.
    """

    seed: int
    status: str
    metric: float | None
    reason: str
    trust: str
    device_seconds_spent: float
    wall_seconds: float
    findings: tuple[str, ...] = ()
    charged_seconds: float = 0.0
    training_seconds: float | None = None  # CPU, see `trainer.outcome`
    prediction_seconds: float | None = None
    constraints: Mapping[str, float] = field(default_factory=dict)
    splits: Mapping[str, float] = field(default_factory=dict)  # see `trainer.outcome`
    rows: str | None = None
    further_seconds: float = 0.0


class ErrorRecord(TypedDict):
    """An error as it travels between processes, see `worker.describe` and `executor.rebuild`."""

    kind: str
    message: str
    hint: str
    traceback: NotRequired[str]


@dataclass(frozen=True)
class JobResult:
    """What came of a job. ``state``: finished, or interrupted (drained, or without a model; it can be resumed)."""

    job_id: str
    state: str
    measurements: tuple[Measurement, ...] = ()
    final_is_baseline: bool = False
    run: RunEndedEvent | None = None  # of a run that was finished
    worker: int = 0
    problem: ErrorRecord | None = None  # of an interrupted run: what has to be mended

    def to_json(self) -> dict[str, JsonValue]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: object) -> JobResult:
        """Raises pydantic.ValidationError for what is no result."""
        return _RESULT.validate_python(data)


_RESULT = TypeAdapter(JobResult)


class WorkerMessage(TypedDict, total=False):
    """A message of a worker to its parent."""

    ready: int
    progress: Mapping[str, JsonValue]
    result: Mapping[str, JsonValue]
    error: ErrorRecord
