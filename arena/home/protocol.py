"""What volunteers and host send each other: JSON objects, read strictly on both sides; the types have the limits."""

from __future__ import annotations

from typing import Annotated, ClassVar, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from analysis.ledger.json_values import first_fault
from programs.common.errors import MetaloopError, UsageError
from programs.common.text import MAX_BYTES, one_line

MOST_NAME, MOST_DEVICES = 40, 1024
MOST_EVENTS = 480 << 10  # bytes of the ledger segment of a run
MOST_REQUEST = (1 << 20) + (64 << 10)  # bytes

Line = Annotated[str, AfterValidator(lambda text: one_line(text)[:500])]  # of the other side, for a terminal or a page
ProjectId = Annotated[str, Field(pattern=r"^[a-z][0-9a-f]{12}$")]
LeaseId = Annotated[str, Field(pattern=r"^r[0-9a-f]{12}$")]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


def _on_one_line(text: str) -> str:
    if text != one_line(text):
        raise ValueError("not a name on one line")
    return text


class Sent(BaseModel):
    """An object of the protocol."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)
    most: ClassVar[int] = 64 << 10  # bytes


class Introduction(Sent):  # POST /api/v1/volunteers
    name: Annotated[str, Field(max_length=MOST_NAME), AfterValidator(one_line)]
    hardware: Annotated[str, Field(max_length=MOST_NAME), AfterValidator(one_line)]
    devices: Annotated[int, Field(ge=1, le=MOST_DEVICES)]


class Welcome(Sent):
    volunteer: int
    token: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{0,200}$")]  # of a new volunteer; else empty
    leases_at_once: int


class LeaseRequest(Sent):  # POST /api/v1/leases
    have: Annotated[list[LeaseId], Field(max_length=MOST_DEVICES)] = []  # that the volunteer knows of


class RunBase(Sent):
    block: int
    commit: Line
    files: Annotated[dict[str, str], Field(min_length=1)]


class GivenProgram(Sent):
    id: Line
    name: Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_on_one_line)]
    text: Annotated[str, Field(max_length=MAX_BYTES)]


class RunWork(Sent):
    """A run to make: a lease, the task's bundle, the block from which the run starts, the program that it follows."""

    most = 2 << 20
    lease: LeaseId
    task: Digest
    base: RunBase
    program: GivenProgram
    run_seed: Annotated[int, Field(ge=0, lt=2**53)]
    budget: Annotated[float, Field(gt=0, le=7 * 86400)]  # device-seconds
    expires_at: Line
    leases_at_once: Annotated[int, Field(ge=1)]


class RunResult(Sent):  # POST /api/v1/leases/LEASE/result
    most = MOST_REQUEST
    device_seconds: Annotated[float, Field(ge=0)]
    experiments: Annotated[int, Field(ge=0, le=10**6)]
    events: Annotated[str, Field(max_length=MOST_EVENTS)]  # the run's segment of the ledger: JSON lines
    claimed_gain: float
    files: dict[str, str]  # that changed, for a proposal


class ResultAnswer(Sent):
    counted_seconds: float  # of the run's device-seconds
    proposal: int | None = None  # None: the run has none
    state: Line = ""
    reason: Line = ""


class TaskAbout(Sent):
    name: Line
    digest: Digest  # of its bundle, at /api/v1/task/DIGEST
    unit: Line


class ProjectAbout(Sent):  # GET /api/v1/project
    project: ProjectId
    title: Line
    task: TaskAbout
    block: int
    commit: Line
    budget: float
    hardware: Line


S = TypeVar("S", bound=Sent)


def parsed(kind: type[S], raw: bytes | str, source: str = "", error: type[MetaloopError] = UsageError) -> S:
    """The object in ``raw``. Raises ``error`` with its first fault, in one line that begins with ``source``."""
    hint = "docs/home.md specifies the protocol"
    if len(raw) > kind.most:
        raise error(f"{source}larger than {kind.most >> 10} KB", hint=hint)
    try:
        return kind.model_validate_json(raw)
    except ValidationError as fault:
        raise error(source + first_fault(fault), hint=hint) from None
