"""What volunteers and host send each other: JSON objects, read strictly on both sides; the types have the limits."""

from __future__ import annotations

from typing import Annotated, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from analysis.ledger.json_values import first_fault
from programs.errors import MetaloopError, UsageError
from programs.text import one_line

MOST_NAME, MOST_DEVICES = 40, 1024
MOST_EVENTS = 512 << 10  # characters of the ledger segment of a run
MOST_REQUEST = (1 << 20) + (64 << 10)  # bytes

Line = Annotated[str, AfterValidator(lambda text: one_line(text)[:500])]  # of the other side, for a terminal or a page
ProjectId = Annotated[str, Field(pattern=r"^[a-z][0-9a-f]{12}$")]
LeaseId = Annotated[str, Field(pattern=r"^r[0-9a-f]{12}$")]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Sent(BaseModel):
    """An object of the protocol."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class Introduction(Sent):
    """POST /api/v1/volunteers."""

    name: Annotated[str, Field(max_length=MOST_NAME), AfterValidator(one_line)]
    hardware: Annotated[str, Field(max_length=MOST_NAME), AfterValidator(one_line)]
    devices: Annotated[int, Field(ge=1, le=MOST_DEVICES)]


class Welcome(Sent):
    """``token``: of a new volunteer; empty for one that has joined before."""

    volunteer: int
    token: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{0,200}$")]
    leases_at_once: int


class LeaseRequest(Sent):
    """POST /api/v1/leases. ``have``: the leases that the volunteer knows of."""

    have: Annotated[list[LeaseId], Field(max_length=MOST_DEVICES)] = []


class RunBase(Sent):
    """The block from which a run starts, with its files by name."""

    block: int
    commit: Annotated[str, Field(max_length=64)]
    files: Annotated[dict[str, str], Field(min_length=1)]


class GivenProgram(Sent):
    """The program that a run follows."""

    id: Line
    name: Annotated[str, Field(max_length=200)]
    text: str


class RunWork(Sent):
    """A lease: a run to make, and until when. ``budget``: device-seconds; ``task``: SHA-256 of its bundle."""

    lease: LeaseId
    task: Digest
    base: RunBase
    program: GivenProgram
    run_seed: Annotated[int, Field(ge=0, lt=2**53)]
    budget: Annotated[float, Field(gt=0, le=7 * 86400)]
    expires_at: Line
    leases_at_once: Annotated[int, Field(ge=1)]


class RunResult(Sent):
    """POST /api/v1/leases/LEASE/result: the end of a run. ``files``: those that changed, for a proposal. ``events``:
    the run's segment of the ledger, as JSON lines."""

    device_seconds: Annotated[float, Field(ge=0)]
    experiments: Annotated[int, Field(ge=0, le=10**6)]
    events: Annotated[str, Field(max_length=MOST_EVENTS)]
    claimed_gain: float
    files: dict[str, str]


class OwnProposal(Sent):
    """A proposal of the volunteer. ``reason``: why it has its state."""

    proposal: int
    state: Line
    reason: Line


class ResultAnswer(Sent):
    """``counted_seconds``: of the run's device-seconds. ``proposal``: None for a run without one."""

    counted_seconds: float
    proposal: int | None = None
    state: Line = ""
    reason: Line = ""


class OwnProposals(Sent):
    """GET /api/v1/proposals. ``block``: main's last."""

    proposals: list[OwnProposal]
    block: int


class TaskAbout(Sent):
    """The task of a project. ``digest``: of its bundle, at /api/v1/task/DIGEST."""

    name: Line
    digest: Digest
    unit: Line


class ProjectAbout(Sent):
    """GET /api/v1/project. ``budget``: device-seconds of a run."""

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
    try:
        return kind.model_validate_json(raw)
    except ValidationError as fault:
        raise error(source + first_fault(fault), hint="docs/home.md specifies the protocol") from None
