"""What a project shows: the blocks of main, who gained how much, what is under way."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from sqlalchemy import Row, func, select
from sqlalchemy.orm import Session as Connection

from arena.home.project import Project
from arena.home.recording import totals
from arena.home.tables import OPEN, BlockRow, ProposalRow, RunLease, Volunteer
from arena.serving.clock import utc_now
from arena.serving.throttled_cache import ThrottledCache

MOST_OPEN = 12  # proposals under way that are listed


@dataclass(frozen=True)
class Contributor:
    """A volunteer with blocks. ``gain``: sum over its blocks, in the task's unit, with a 95% interval. ``rank_low``
    to ``rank_high``: the ranks that the intervals leave open."""

    name: str
    volunteer: int
    blocks: int
    gain: float
    low: float
    high: float
    device_seconds: float
    rank_low: int = 1
    rank_high: int = 1


@dataclass(frozen=True)
class BlockSummary:
    """A block of main. ``gain``: over the one before, in the task's unit, with a 95% interval; ``void``: why it
    does not count; empty otherwise."""

    block: int
    by: str
    program_id: str
    gain: float
    low: float
    high: float
    merged_at: str
    commit: str
    proposal: int | None
    void: str


@dataclass(frozen=True)
class OpenProposal:
    proposal: int
    state: str


@dataclass(frozen=True)
class ProjectState:
    """All that status and the pages show. ``proposals``: how many are in which state."""

    blocks: list[BlockSummary]
    contributors: list[Contributor]
    open: list[OpenProposal]
    proposals: dict[str, int]
    volunteers: int
    runs_out: int
    searched_seconds: float
    verified_seconds: float


def contributors(connection: Connection) -> list[Contributor]:
    """The volunteers with blocks that count, the largest gain first."""
    own: dict[Volunteer, list[BlockRow]] = {}
    for block, who, _ in _found(connection):
        if who is not None and not block.void:
            own.setdefault(who, []).append(block)
    out = []
    for who, blocks in own.items():
        gain = math.fsum(block.gain for block in blocks)
        half = math.sqrt(math.fsum(((block.high - block.low) / 2) ** 2 for block in blocks))
        low, high = gain - half, gain + half
        out.append(Contributor(who.name, who.volunteer_id, len(blocks), gain, low, high, who.contributed))
    out.sort(key=lambda one: (-one.gain, one.volunteer))
    return [
        replace(
            one,
            rank_low=1 + sum(other.low > one.high for other in out),
            rank_high=len(out) - sum(other.high < one.low for other in out),
        )
        for one in out
    ]


def _found(connection: Connection) -> Sequence[Row[BlockRow, Volunteer | None, str | None]]:
    """The blocks in order, each with who found it and the program that was followed; the host's own have neither."""
    found = select(BlockRow, Volunteer, RunLease.program_id)
    found = found.outerjoin(ProposalRow, ProposalRow.proposal_id == BlockRow.proposal_id)
    found = found.outerjoin(Volunteer, Volunteer.volunteer_id == ProposalRow.volunteer_id)
    found = found.outerjoin(RunLease, RunLease.lease_id == ProposalRow.lease_id)
    return connection.execute(found.order_by(BlockRow.number)).all()


def blocks(connection: Connection) -> list[BlockSummary]:
    """The blocks, the first one first."""
    return [
        BlockSummary(
            block=block.number,
            by=who.label if who else "host",
            program_id=program_id or "",
            gain=block.gain,
            low=block.low,
            high=block.high,
            merged_at=block.merged_at.isoformat(timespec="seconds"),
            commit=block.commit,
            proposal=block.proposal_id,
            void=block.void,
        )
        for block, who, program_id in _found(connection)
    ]


def throttled_state(project: Project) -> Callable[[], ProjectState]:
    """`state_of` for pages, all of which share one value for a while."""
    cache = ThrottledCache[ProjectState]()
    return lambda: cache.get(time.monotonic(), lambda: state_of(project))


def state_of(project: Project) -> ProjectState:
    with project.database.read() as connection:
        spent = totals(connection)
        counts = dict(connection.execute(select(ProposalRow.state, func.count()).group_by(ProposalRow.state)).all())
        searched = connection.scalar(select(func.sum(RunLease.device_seconds))) or 0.0
        open_rows = select(ProposalRow.proposal_id, ProposalRow.state).where(ProposalRow.state.in_(OPEN))
        under_way = open_rows.order_by(ProposalRow.state, ProposalRow.proposal_id).limit(MOST_OPEN)
        return ProjectState(
            blocks=blocks(connection),
            contributors=contributors(connection),
            open=[OpenProposal(*row) for row in connection.execute(under_way)],
            proposals=counts,
            volunteers=connection.scalar(select(func.count()).select_from(Volunteer)) or 0,
            runs_out=connection.scalar(
                select(func.count()).where(RunLease.returned_at.is_(None), RunLease.expires_at > utc_now())
            )
            or 0,
            searched_seconds=searched,
            verified_seconds=spent.spent,
        )
