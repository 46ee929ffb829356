"""The events of a run: a frozen type for each kind, and the proposal of an experiment. `analysis.ledger.events` has
those of a study, and the reader.

A type's fields are the keys of its record, in order. A field that may be left out has a default. Times are in
seconds, `started_at` is ISO 8601 in UTC, metrics are in the task's unit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Self, dataclass_transform

from pydantic import BeforeValidator, JsonValue, TypeAdapter

from programs.common.ids import content_id
from trainer.edits import Edit, Value
from trainer.source import Source

TYPES: dict[tuple[str, str], type[Event]] = {}  # by kind and, for an agent's events, `what`


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(field,))
@dataclass(frozen=True, kw_only=True)
class Event:
    """Its subclasses are frozen dataclasses too, without a decorator. ``tags``: the constant keys at the start of every
    record. ``sparse``: fields omitted when they are None; ``memory``: those that are not part of the record."""

    tags: ClassVar[Mapping[str, str]] = MappingProxyType({})
    sparse: ClassVar[frozenset[str]] = frozenset()
    memory: ClassVar[frozenset[str]] = frozenset()
    _adapter: ClassVar[TypeAdapter[Any]]

    def __init_subclass__(cls, sparse: tuple[str, ...] = (), memory: tuple[str, ...] = (), **tags: str) -> None:
        dataclass(frozen=True, kw_only=True)(cls)
        cls.tags, cls.sparse, cls.memory = tags, frozenset(sparse), frozenset(memory)
        TYPES[tags.get("kind", ""), tags.get("what", "")] = cls

    @property
    def kind(self) -> str:
        return self.tags["kind"]

    def to_record(self) -> dict[str, JsonValue]:
        """The event as the ledger writes it, without the keys that the ledger adds."""
        record: dict[str, JsonValue] = dict(self.tags)
        for item in fields(self):
            value = getattr(self, item.name)
            if item.name not in self.memory and (value is not None or item.name not in self.sparse):
                record[item.name] = _plain(value)
        return record

    @classmethod
    def parse(cls, record: Mapping[str, JsonValue] | bytes) -> Self:
        """See `read_event`. A line of JSON takes half the time of its mapping."""
        if "_adapter" not in vars(cls):
            cls._adapter = TypeAdapter(cls)
        adapter = cls._adapter
        event: Self = adapter.validate_json(record) if isinstance(record, bytes) else adapter.validate_python(record)
        return event


Emit = Callable[[Event], object]


def read_event(record: Mapping[str, JsonValue]) -> Event | None:
    """The event of a record, without unknown keys; None for an unknown kind, from another version.

    Raises pydantic.ValidationError for a record with a missing key or a value of the wrong type.
    """
    kind = str(record.get("kind"))
    event_type = TYPES.get((kind, "")) or TYPES.get((kind, str(record.get("what"))))
    return event_type.parse(record) if event_type else None


def _plain(value: Any) -> Any:
    """A field's value as JSON."""
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if is_dataclass(value):
        return {f.name: _plain(item) for f in fields(value) if (item := getattr(value, f.name)) is not None}
    return value


class RunStartedEvent(Event, kind="run_started"):
    """A worker starts or resumes a run."""

    task: str
    device_seconds_budget: float
    run_id: str
    match_id: str
    arm_id: str
    program_id: str
    run_seed: int
    stream: str
    researcher: str


class DecisionEvent(Event, kind="decision", sparse=("gain", "gain_se")):
    """The decision about an experiment: keep, discard, undecided …

    ``gain``: over the source that it was compared with, positive is better, and its standard error, both in the task's
    unit; None where nothing was compared, or where the error is not known."""

    run_id: str
    experiment_id: str
    decision: str
    reason: str = ""
    gain: float | None = None
    gain_se: float | None = None


_EMPTY = Source(())


class Experiment(
    Event, kind="experiment", sparse=("constraints", "program_id", "rows"), memory=("source", "log", "decided")
):
    """One training and its score: what was asked, what came of it, and what was decided.

    Its life: a `Proposal` that the budget covers gets a number and is trained; when it has ended, this is written with
    its status: ok, or crash, timeout, oom or invalid for a failure of its own (a ``fault`` of ours is never written).
    `Bench.decide` then decides once: baseline, keep, discard, undecided; screen, replicate or confirm for what is no
    candidate of its own.

    ``parent_number``: of the experiment whose source was edited. ``constraints``: the value of each constraint of the
    task; None without any. ``program_id``: of a night, whose turn it was; else the run's program. ``rows``: the name of
    its values of rows in the study's folder (`trainer.rows.RowStore`), where the task has them. ``source``, ``log`` and
    ``decided`` are known while the run works, and are not part of the row.
    """

    run_id: str
    experiment_id: str
    number: int  # 0 is the untouched baseline
    parent_number: int | None = None
    source_id: str
    parent_source_id: str | None = None
    edit: Edit
    config: Mapping[str, Value]
    seed: int
    replicate: int
    fraction: float  # of a full experiment's budget
    status: str
    metric: float | None
    device_seconds_charged: float
    device_seconds_spent: float
    training_seconds: float | None = None
    prediction_seconds: float | None = None
    wall_seconds: float
    peak_memory_mb: float = 0.0
    utilization: float | None = None
    steps: int | None = None
    description: str = ""
    proposer: str = ""
    directive_ids: tuple[str, ...] = ()
    trust: str = "unverified"
    findings: tuple[str, ...] = ()
    cached: bool
    reason: str
    diff: str = field(default="", repr=False)
    started_at: str = ""
    constraints: Mapping[str, float] | None = None
    program_id: str | None = None
    rows: str | None = None
    source: Annotated[Source, BeforeValidator(lambda _: _EMPTY)] = field(default=_EMPTY, repr=False, compare=False)
    log: Annotated[str, BeforeValidator(lambda _: "")] = field(default="", repr=False, compare=False)
    decided: Annotated[DecisionEvent | None, BeforeValidator(lambda _: None)] = field(default=None, compare=False)

    @property
    def ok(self) -> bool:
        return self.metric is not None

    @property
    def full(self) -> bool:
        """Whether it had the whole budget of an experiment: only such experiments are compared with the head."""
        return self.fraction >= 1.0

    @property
    def decision(self) -> str:
        """Empty until it is decided."""
        return self.decided.decision if self.decided else ""

    @property
    def gain(self) -> float | None:
        """Over the source that the decision compared it with, in the task's unit; positive is better."""
        return self.decided.gain if self.decided else None

    @property
    def gain_se(self) -> float | None:
        return self.decided.gain_se if self.decided else None

    def decide(self, decided: DecisionEvent) -> None:
        """Set the decision, once."""
        if self.decided is not None:
            raise RuntimeError(f"experiment {self.number} was decided already: {self.decision}")
        object.__setattr__(self, "decided", decided)


@dataclass(frozen=True)
class Proposal:
    """An experiment that is asked for: an edit of a source, and the directives that led to it.

    For an edit of text, ``source`` is the edited source and ``edit`` the equivalent known edit, if there is one.
    ``parent``: the experiment whose source is edited; None: the bench's head. ``fraction``: of a full experiment's
    budget. ``replicate``: selects the training seed, which is the same for every source of the run. ``program_id``: of
    a night, whose turn it is.
    """

    edit: Edit = field(default_factory=Edit)
    proposer: str = ""
    directive_ids: tuple[str, ...] = ()
    description: str = ""
    source: Source | None = None
    parent: Experiment | None = None
    fraction: float = 1.0
    replicate: int = 0
    program_id: str | None = None


class TurnEvent(Event, kind="turn"):
    """A turn of a chat researcher that led to no experiment, after ``after`` experiments. ``fate``: pass, conflict
    (with an edit of the same wave that was kept) or unusable."""

    run_id: str
    number: int
    after: int
    role: str
    fate: str
    title: str = ""
    reason: str = ""
    directive_ids: tuple[str, ...] = ()


class NightTurnEvent(Event, kind="night_turn"):
    """A turn of a program on the lineage of a night: ``count`` experiments, second seeds included, the first of them
    with the number ``first``.
    ``main``: the experiment that is `main` after it; ``kept``: the last one that the turn made `main`, and its gain
    over the `main` before the turn, of means over their seeds (0 without one)."""

    run_id: str
    number: int
    block: int
    program_id: str
    first: int
    count: int
    main: int
    kept: int | None
    gain: float
    device_seconds_charged: float


class FindingEvent(Event, kind="finding", sparse=("run_id", "experiment_id", "source_id", "stream", "seed")):
    """Something that the referee noticed."""

    finding: str  # its kind, e.g. "clock"
    text: str
    run_id: str | None = None
    experiment_id: str | None = None
    source_id: str | None = None
    stream: str | None = None
    seed: int | None = None

    @classmethod
    def of_line(cls, line: str, **about: str | int | None) -> FindingEvent:
        """The event of one line ``kind: text``; ``about``: run_id, source_id, stream, seed …"""
        kind, colon, rest = line.partition(":")
        finding, text = (kind.strip(), rest.strip()) if colon else ("other", line.strip())
        return cls(finding=finding, text=text, **about)  # type: ignore[arg-type]


class FaultEvent(Event, kind="fault", sparse=("run_id", "number", "source_id", "stream", "seed")):
    """Our own infrastructure failed; nothing is charged."""

    run_id: str | None = None
    number: int | None = None
    source_id: str | None = None
    stream: str | None = None
    seed: int | None = None
    reason: str


class CallEvent(Event, kind="call", sparse=("run_id",)):
    """A call of a model. Tokens, dollars and wall seconds cover all attempts; dollars are None if no price is known.

    ``run_id`` is None for the study's own calls. ``lost_tokens``: upper bound for attempts whose usage is unknown.
    """

    run_id: str | None = None
    number: int
    purpose: str
    request: str  # hash
    tokens: int
    usd: float | None
    lost_tokens: int = 0
    lost_usd: float | None = 0.0
    wall_seconds: float
    attempts: int
    faults: tuple[str, ...] = ()
    model: str | None = None
    tokens_in: int = 0
    tokens_out: int = 0
    tokens_cached: int = 0
    reply_usd: float | None = None
    reply_seconds: float = 0.0
    finish: str = ""
    text: str = ""
    status: str = "failed"
    reason: str = ""


class AgentEvent(Event):
    """What a coding agent's run records besides its experiments."""

    run_id: str


class AgentSandboxEvent(AgentEvent, kind="agent", what="sandbox"):
    """CPU-seconds of the run's sandboxes so far, and their charge, after ``after`` experiments."""

    cpu_seconds: float
    charged_seconds: float
    after: int


class AgentSessionEvent(AgentEvent, kind="agent", what="session"):
    """A session of the agent has ended."""

    command: str
    exit_code: int
    killed: str
    experiments: int
    wall_seconds: float
    cpu_seconds: float
    counted_by: str
    peak_memory_mb: float


class RunEndedEvent(Event, kind="run_ended", memory=("final", "problem")):
    """The result of a run. Seconds are device-seconds except the two wall times; metrics are in the task's unit.

    A finished run is charged exactly its budget: its experiments plus `sandbox` and `forfeited` minus `overshoot`.
    `sandbox` is the CPU time of an agent outside its experiments. The sum of all these costs equals `spent` plus
    `cached_seconds`, except for work lost before a resume. ``repeats``: of its experiments, sources that were measured
    before, with another seed. ``final``: the kept source, and ``problem``: what the user must fix before the run can
    continue, are known where it ended, and are not part of the row.
    """

    run_id: str
    state: str  # finished or stopped
    final_metric: float | None = None
    baseline_metric: float | None = None
    experiments: int = 0
    kept: int = 0  # without `main` of the night before
    charged: float
    spent: float
    cached_seconds: float = 0.0
    forfeited: float = 0.0
    overshoot: float = 0.0
    wall_seconds: float | None = None
    experiment_wall_seconds: float | None = None
    sandbox: float = 0.0
    repeats: int = 0
    reason: str = ""  # why it ended before its budget was spent
    final_source_id: str
    claimed_best: float | None
    calls: int = 0
    tokens: int | None = None
    usd: float | None = None
    claimed_gain: float | None
    final: Annotated[Source, BeforeValidator(lambda _: _EMPTY)] = field(default=_EMPTY, repr=False, compare=False)
    problem: Annotated[Any, BeforeValidator(lambda _: None)] = field(default=None, compare=False)


def experiment_id(run_id: str, number: int) -> str:
    """The id of a run's experiment, from its number, so that a resumed run gives the same one."""
    return content_id("e", run_id, str(number))
