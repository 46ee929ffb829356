"""The tables of home.sqlite: volunteers, leases, proposals with their pairs, blocks. Runs are in the ledger."""

from __future__ import annotations

from datetime import datetime

from pydantic import JsonValue
from sqlalchemy import ForeignKey, LargeBinary, func, select
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship
from sqlalchemy.orm import Session as Connection
from sqlalchemy.types import JSON

from arena.home import policy
from arena.serving.clock import utc_now
from arena.serving.database import Database, Moment

#: States of a proposal. `waiting`: passed the cheap checks. `verifying`: pairs are measured. `merged`, `void`: a block,
#: or one no longer. `hopeless`: its test ended. `refused`: a check failed. `stale`: it no longer applies to main.
STATES = ("waiting", "verifying", "merged", "hopeless", "refused", "stale", "void")
OPEN = STATES[:2]


UNNAMED = "volunteer"  # with its number, the name of one that gave none


class ProjectTable(DeclarativeBase):
    """The tables of home.sqlite."""

    type_annotation_map = {datetime: Moment, dict[str, str]: JSON}  # noqa: RUF012 - SQLAlchemy's own


class Volunteer(ProjectTable):
    """A token and what was done with it.

    Device-seconds: ``contributed`` of search, at most the time that its leases were out; ``checking`` that its
    proposals cost the host. ``streak``: proposals since the last one whose claim did not hold.
    """

    __tablename__ = "volunteers"

    volunteer_id: Mapped[int] = mapped_column(primary_key=True)
    token_hash: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str]
    hardware: Mapped[str]
    devices: Mapped[int]
    contributed: Mapped[float] = mapped_column(default=0.0)
    checking: Mapped[float] = mapped_column(default=0.0)
    confirmed: Mapped[int] = mapped_column(default=0)
    refuted: Mapped[int] = mapped_column(default=0)
    streak: Mapped[int] = mapped_column(default=0)

    @property
    def label(self) -> str:
        """The name with the volunteer's number: names may be taken twice."""
        return self.name if self.name == f"{UNNAMED} {self.volunteer_id}" else f"{self.name} ({self.volunteer_id})"


class RunLease(ProjectTable):
    """One run that a volunteer was asked for. ``returned_at``: it is honoured once, late or not."""

    __tablename__ = "leases"

    lease_id: Mapped[str] = mapped_column(primary_key=True)
    volunteer_id: Mapped[int] = mapped_column(ForeignKey("volunteers.volunteer_id"), index=True)
    base: Mapped[int]  # number of the block
    program_id: Mapped[str] = mapped_column(index=True)
    run_seed: Mapped[int]
    budget: Mapped[float]
    issued_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    returned_at: Mapped[datetime | None]
    device_seconds: Mapped[float] = mapped_column(default=0.0)
    experiments: Mapped[int] = mapped_column(default=0)
    events: Mapped[bytes] = mapped_column(LargeBinary, default=b"", deferred=True)  # gzip of JSON lines
    recorded: Mapped[bool] = mapped_column(default=False, index=True)  # in the ledger
    proposal: Mapped[ProposalRow | None] = relationship(back_populates="lease")


class ProposalRow(ProjectTable):
    """The changed files of a run, in the order of arrival, each when its lease was returned. ``files``: the editable
    files that differ from the lease's base; none if a check refused them."""

    __tablename__ = "proposals"
    __table_args__ = {"sqlite_autoincrement": True}  # noqa: RUF012 - SQLAlchemy's own

    proposal_id: Mapped[int] = mapped_column(primary_key=True)
    lease_id: Mapped[str] = mapped_column(ForeignKey("leases.lease_id"), unique=True)
    volunteer_id: Mapped[int] = mapped_column(ForeignKey("volunteers.volunteer_id"), index=True)
    state: Mapped[str] = mapped_column(index=True)
    reason: Mapped[str] = mapped_column(default="")
    changed_at: Mapped[datetime]
    files: Mapped[dict[str, str]] = mapped_column(default=dict)
    claimed: Mapped[float] = mapped_column(default=0.0)  # gain over the base of the lease, by the volunteer
    normal: Mapped[str] = mapped_column(default="", index=True)  # hash of the whole source without layout and comments
    base: Mapped[int] = mapped_column(default=0)  # the block it is compared with: main when its test began
    source: Mapped[dict[str, str]] = mapped_column(default=dict)  # whole, rebased on ``base``
    test: Mapped[int] = mapped_column(default=0)  # its place among the tests, from 1
    first_pair: Mapped[int] = mapped_column(default=0)  # of its test; those before are of a test on a main now void
    level: Mapped[float] = mapped_column(default=0.0)
    log_e: Mapped[float] = mapped_column(default=0.0)
    lease: Mapped[RunLease] = relationship(back_populates="proposal")
    proposer: Mapped[Volunteer] = relationship()


class Pair(ProjectTable):
    """Base and proposal, trained with one fresh seed and scored on one fresh split."""

    __tablename__ = "pairs"

    proposal_id: Mapped[int] = mapped_column(ForeignKey("proposals.proposal_id"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    seed: Mapped[int]
    split: Mapped[str]
    base_metric: Mapped[float | None]
    metric: Mapped[float | None]
    difference: Mapped[float]
    status: Mapped[str]  # of the two trainings: ok ok
    device_seconds: Mapped[float]
    measured_at: Mapped[datetime] = mapped_column(default=utc_now)


class BlockRow(ProjectTable):
    """A merged proposal; number 0 is the untouched baseline. ``void``: why it no longer counts."""

    __tablename__ = "blocks"

    number: Mapped[int] = mapped_column(primary_key=True)
    proposal_id: Mapped[int | None] = mapped_column(ForeignKey("proposals.proposal_id"), index=True)
    parent: Mapped[int | None]
    commit: Mapped[str] = mapped_column(unique=True)
    source_id: Mapped[str]
    gain: Mapped[float] = mapped_column(default=0.0)
    low: Mapped[float] = mapped_column(default=0.0)
    high: Mapped[float] = mapped_column(default=0.0)
    merged_at: Mapped[datetime] = mapped_column(default=utc_now)
    void: Mapped[str] = mapped_column(default="")
    proposal: Mapped[ProposalRow | None] = relationship()


class ProjectFact(ProjectTable):
    """A value by name."""

    __tablename__ = "facts"

    name: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[dict[str, JsonValue]] = mapped_column(JSON)
    changed_at: Mapped[datetime]


class ProjectDatabase(Database):
    name = "home.sqlite"
    tables = ProjectTable
    facts = ProjectFact


def main_block(connection: Connection) -> BlockRow:
    """The last block of main that is not void."""
    block = connection.scalar(select(BlockRow).where(BlockRow.void == "").order_by(BlockRow.number.desc()).limit(1))
    assert block is not None  # number 0 is made with the project, and never void
    return block


def tested_before(connection: Connection, normal: str, proposal_id: int = 0) -> str:
    """Why a proposal with this normal form is not tested: the test of another one has begun. Else empty. One that only
    waits blocks nothing, because it may wait for ever: its volunteer may claim next to no gain."""
    tested = (ProposalRow.normal == normal) & (ProposalRow.test > 0) & (ProposalRow.proposal_id != proposal_id)
    earlier = connection.scalar(select(func.min(ProposalRow.proposal_id)).where(tested))
    return f"the same source as proposal {earlier}" if earlier else ""


def standing(volunteer: Volunteer) -> policy.VolunteerRecord:
    """What decides the order of a volunteer's proposals, and its quota."""
    names = policy.VolunteerRecord.__dataclass_fields__
    return policy.VolunteerRecord(**{name: getattr(volunteer, name) for name in names})
