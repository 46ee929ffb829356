"""What volunteers and host send each other: JSON objects, read strictly on both sides; the types have the limits."""

from __future__ import annotations

from typing import Annotated, ClassVar, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from analysis.ledger.json_values import first_fault
from programs.common.errors import MetaloopError, UsageError
from programs.common.text import one_line

MOST_NAME = 40
MOST_REQUEST = 256 << 10  # bytes; a source of 64 KB is longer as JSON

Line = Annotated[str, AfterValidator(lambda text: one_line(text)[:500])]  # of the other side, for a terminal or a page
ProjectId = Annotated[str, Field(pattern=r"^[a-z][0-9a-f]{12}$")]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Commit = Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")]


class Sent(BaseModel):
    """An object of the protocol."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)
    most: ClassVar[int] = MOST_REQUEST  # bytes


class Introduction(Sent):  # POST /api/v1/volunteers
    name: Annotated[str, Field(max_length=MOST_NAME), AfterValidator(one_line)]


class Welcome(Sent):
    volunteer: int
    token: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{0,200}$")]  # of a new volunteer; else empty


class Proposal(Sent):  # POST /api/v1/proposals
    base: Commit  # the block from which the search began
    files: Annotated[dict[str, str], Field(min_length=1)]  # the editable files that changed
    gain: float  # over the base, as the volunteer measured it, in the task's unit
    error: Annotated[float, Field(ge=0)] | None = None  # standard error of the gain, if it is known


class ProposalAnswer(Sent):
    """``state``: waiting, testing, merged, rejected, outdated or void (docs/home.md); `refused` by a check, or `later`:
    the volunteer has as many proposals waiting as it may. The last two are not stored."""

    state: Line
    reason: Line = ""
    proposal: int | None = None
    block: int | None = None


class TaskAbout(Sent):
    name: Line
    digest: Digest  # of its bundle, at /api/v1/task/DIGEST
    unit: Line


class ProjectAbout(Sent):  # GET /api/v1/project
    project: ProjectId
    title: Line
    task: TaskAbout
    block: int
    commit: Commit  # of main
    files: Annotated[dict[str, str], Field(min_length=1)]  # of main
    budget: Annotated[float, Field(gt=0, le=7 * 86400)]  # device-seconds of a run, as the host suggests it


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
