"""What happens in a run, a frozen type for each kind of event. `analysis.events` has those of a study, and the reader.

The fields of a type are the keys of its record, in their order. A field with a default is one that older records lack.
Times are in seconds, `started_at` is ISO 8601 in UTC, metrics are in the task's unit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from types import MappingProxyType
from typing import Any, ClassVar, Self

from pydantic import JsonValue, TypeAdapter

from inner_loop.models.tools import ToolCall
from programs.ids import content_id
from trainer.edits import Edit, Value

TYPES: dict[tuple[str, str], type[Event]] = {}  # by kind, and by what an agent's event is about


@dataclass(frozen=True, kw_only=True)
class Event:
    """``tags``: what every record of the type begins with. ``sparse``: fields that are left out where they are None."""

    tags: ClassVar[Mapping[str, str]] = MappingProxyType({})
    sparse: ClassVar[frozenset[str]] = frozenset()
    _adapter: ClassVar[TypeAdapter[Any]]

    def __init_subclass__(cls, sparse: tuple[str, ...] = (), **tags: str) -> None:
        cls.tags, cls.sparse = tags, frozenset(sparse)
        TYPES[tags.get("kind", ""), tags.get("what", "")] = cls

    @property
    def kind(self) -> str:
        return self.tags["kind"]

    def to_record(self) -> dict[str, JsonValue]:
        """The event as the ledger writes it, without what the ledger adds."""
        record: dict[str, JsonValue] = dict(self.tags)
        for field in fields(self):
            value = getattr(self, field.name)
            if value is not None or field.name not in self.sparse:
                record[field.name] = _plain(value)
        return record

    @classmethod
    def parse(cls, record: Mapping[str, JsonValue]) -> Self:
        """See `read_event`."""
        if "_adapter" not in vars(cls):
            cls._adapter = TypeAdapter(cls)
        event: Self = cls._adapter.validate_python(record)
        return event


Emit = Callable[[Event], object]


def read_event(record: Mapping[str, JsonValue]) -> Event | None:
    """The event of a record, without the keys that its type does not know; None for a kind of another version.

    Raises pydantic.ValidationError for a record that lacks a key, or has a value of another type.
    """
    kind = str(record.get("kind"))
    event_type = TYPES.get((kind, "")) or TYPES.get((kind, str(record.get("what"))))
    return event_type.parse(record) if event_type else None


def _plain(value: Any) -> Any:
    """A field's value as JSON has it."""
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if is_dataclass(value):
        return {f.name: _plain(item) for f in fields(value) if (item := getattr(value, f.name)) is not None}
    return value


@dataclass(frozen=True, kw_only=True)
class RunStartedEvent(Event, kind="run_started"):
    """A worker takes up a run, for the first time or again."""

    task: str
    device_seconds_budget: float
    run_id: str
    match_id: str
    arm_id: str
    program_id: str
    run_seed: int
    stream: str
    researcher: str


@dataclass(frozen=True, kw_only=True)
class ExperimentEvent(Event, kind="experiment"):
    """One training and its score."""

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
    diff: str = ""
    started_at: str = ""


@dataclass(frozen=True, kw_only=True)
class DecisionEvent(Event, kind="decision"):
    """What the researcher made of an experiment: keep, discard …"""

    run_id: str
    experiment_id: str
    decision: str
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class WaveEvent(Event, kind="wave"):
    """Of the wave that began with experiment ``number``, device-seconds in which leased devices waited for its last
    experiment; they are charged."""

    run_id: str
    number: int
    count: int
    devices: int
    idle_seconds: float


@dataclass(frozen=True, kw_only=True)
class FindingEvent(
    Event,
    kind="finding",
    sparse=(
        "run_id",
        "experiment_id",
        "source_id",
        "stream",
        "seed",
    ),
):
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


@dataclass(frozen=True, kw_only=True)
class FaultEvent(
    Event,
    kind="fault",
    sparse=(
        "run_id",
        "number",
        "source_id",
        "stream",
        "seed",
    ),
):
    """Our own infrastructure failed; nothing is charged for it."""

    run_id: str | None = None
    number: int | None = None
    source_id: str | None = None
    stream: str | None = None
    seed: int | None = None
    reason: str


@dataclass(frozen=True, kw_only=True)
class CallEvent(
    Event,
    kind="call",
    sparse=(
        "run_id",
        "tools",
    ),
):
    """A call of a model. Tokens, dollars and wall seconds are of all attempts; dollars: None where no price is known.

    ``run_id`` is None for the study's own calls. ``lost_tokens``: what attempts took at most whose number nobody gave.
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
    tools: tuple[ToolCall, ...] | None = None
    status: str = "failed"
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class AgentEvent(Event):
    """What a coding agent's run leaves beside its experiments."""

    run_id: str


@dataclass(frozen=True, kw_only=True)
class AgentSourceEvent(AgentEvent, kind="agent", what="source"):
    """The text of a source where the diff of its experiment does not give it all."""

    source_id: str
    files: tuple[tuple[str, str], ...]


@dataclass(frozen=True, kw_only=True)
class AgentSandboxEvent(AgentEvent, kind="agent", what="sandbox"):
    """CPU-seconds of the run's sandboxes so far, and what is charged of them, after ``after`` experiments."""

    cpu_seconds: float
    charged_seconds: float
    after: int


@dataclass(frozen=True, kw_only=True)
class AgentHeadEvent(AgentEvent, kind="agent", what="head"):
    """After ``after`` experiments the agent went back to experiment ``number``."""

    number: int
    after: int


@dataclass(frozen=True, kw_only=True)
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
    requests: int
    bytes_sent: int
    bytes_received: int
    refused_hosts: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class RunEndedEvent(Event, kind="run_ended"):
    """What a run came to. Seconds are device-seconds but for the two wall times.

    Its experiments plus ``idle``, ``sandbox`` and ``forfeited`` minus ``overshoot`` are ``charged``, which is its
    budget where it finished.
    """

    run_id: str
    state: str  # finished or stopped
    final_metric: float | None = None
    baseline_metric: float | None = None
    experiments: int = 0
    kept: int = 0
    charged: float
    spent: float
    cached_seconds: float = 0.0
    forfeited: float = 0.0
    overshoot: float = 0.0
    wall_seconds: float | None = None
    experiment_wall_seconds: float | None = None
    idle: float = 0.0
    sandbox: float = 0.0
    reason: str = ""  # why it ended before its budget was spent
    final_source_id: str
    claimed_best: float | None
    calls: int = 0
    tokens: int | None = None  # None: an older version, which did not count them
    usd: float | None = None
    claimed_gain: float | None


def experiment_id(run_id: str, number: int) -> str:
    """The id of a run's experiment: by its place, so that a resumed run gives the same one."""
    return content_id("e", run_id, str(number))
