"""What a project shows: the blocks of main, who gained how much, which program gains more, what is under way."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from sqlalchemy import Row, func, select
from sqlalchemy.orm import Session as Connection

from analysis.statistics import t_quantile
from arena.home.project import Project
from arena.home.recording import totals
from arena.home.tables import OPEN, BlockRow, ProposalRow, RunLease, Volunteer
from arena.serving.clock import utc_now
from arena.serving.throttled_cache import ThrottledCache

MOST_OPEN = 12  # proposals under way that are listed
LEAST_SAMPLES = 4  # of a program, and of the others, before they are compared


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
class ProgramResult:
    """A program that volunteers follow. ``sampled``: runs whose end the host has scored, drawn in advance.

    ``gain``: mean of those over their base, per device-second. ``difference``, with an interval that holds for all
    programs together with 95%: from the others, among runs from the same block, per device-second; None while there
    are too few.
    """

    program_id: str
    name: str
    runs: int
    device_seconds: float
    blocks: int
    sampled: int
    gain: float | None
    difference: float | None
    low: float | None
    high: float | None


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
    programs: list[ProgramResult]
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


def programs(project: Project, connection: Connection) -> list[ProgramResult]:
    """The programs, compared by the sampled runs. A run is analysed under the program that it was drawn for."""
    returned = select(RunLease.program_id, func.count(), func.sum(RunLease.device_seconds))
    returned = returned.where(RunLease.returned_at.is_not(None)).group_by(RunLease.program_id)
    totals_of = {name: (runs, seconds) for name, runs, seconds in connection.execute(returned)}
    columns = (RunLease.program_id, RunLease.base, RunLease.sample_gain / RunLease.budget)
    drawn = connection.execute(select(*columns).where(RunLease.scored, RunLease.sample_gain.is_not(None)))
    scored = [ScoredRun(name, base, gain or 0.0) for name, base, gain in drawn]
    merged = dict(
        connection.execute(
            select(RunLease.program_id, func.count())
            .join(ProposalRow, ProposalRow.lease_id == RunLease.lease_id)
            .join(BlockRow, BlockRow.proposal_id == ProposalRow.proposal_id)
            .where(BlockRow.void == "")
            .group_by(RunLease.program_id)
        ).all()
    )
    out = []
    for program_id, (name, _) in project.programs.items():
        runs, seconds = totals_of.get(program_id, (0, 0.0))
        gains = [run.gain for run in scored if run.program_id == program_id]
        difference, low, high = _difference(program_id, scored, len(project.programs))
        out.append(
            ProgramResult(
                program_id=program_id,
                name=name,
                runs=runs,
                device_seconds=seconds,
                blocks=merged.get(program_id, 0),
                sampled=len(gains),
                gain=math.fsum(gains) / len(gains) if gains else None,
                difference=difference,
                low=low,
                high=high,
            )
        )
    return sorted(out, key=lambda one: (-(one.difference or 0.0), one.name))


class ScoredRun(NamedTuple):
    """A run from a block, whose end the host has scored. ``gain``: over the block, per device-second."""

    program_id: str
    base: int
    gain: float


def _difference(
    program_id: str, scored: Sequence[ScoredRun], compared: int
) -> tuple[float | None, float | None, float | None]:
    """Gain per device-second of a program minus that of the others, within blocks. Its interval has a probability of
    95% for all ``compared`` programs together (Bonferroni)."""
    import numpy as np

    from analysis.effects.designs import least_squares

    own = np.array([run.program_id == program_id for run in scored], dtype=float)
    if min(own.sum(), len(own) - own.sum()) < LEAST_SAMPLES:
        return None, None, None
    gains = np.array([run.gain for run in scored])
    _, blocks = np.unique([run.base for run in scored], return_inverse=True)
    [effect] = least_squares(own[:, None], gains, blocks)
    if effect is None or effect.se is None:
        return None, None, None
    half = t_quantile(1 - 0.025 / compared, effect.df) * effect.se
    return effect.estimate, effect.estimate - half, effect.estimate + half


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
            programs=programs(project, connection),
            open=[OpenProposal(*row) for row in connection.execute(under_way)],
            proposals=counts,
            volunteers=connection.scalar(select(func.count()).select_from(Volunteer)) or 0,
            runs_out=connection.scalar(
                select(func.count()).where(RunLease.returned_at.is_(None), RunLease.expires_at > utc_now())
            )
            or 0,
            searched_seconds=searched,
            verified_seconds=spent.spent + spent.sampled,
        )
