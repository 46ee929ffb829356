"""What a project shows: the blocks of main, the proposals and their volunteers. Page and API have the same."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from sqlalchemy import func, select

from analysis.report.axis import Axis
from arena.home.chain import Block, Voided
from arena.home.project import Project, ProposalRow, Volunteer

MOST_SHOWN = 100  # of the latest proposals
WIDTH, LEFT, RIGHT, TOP, BOTTOM, HEIGHT = 720, 56, 14, 12, 30, 250  # of the curve


@dataclass(frozen=True)
class BlockSummary:
    """A block of main. ``gain``: over the one before, in the task's unit, with a 95% interval that is valid at every
    look; ``main_gain``: of main over block 0; ``void``: why it does not count; else empty."""

    block: int
    by: str
    gain: float
    low: float
    high: float
    main_gain: float
    merged_at: str
    commit: str
    proposal: int | None
    void: str


@dataclass(frozen=True)
class ProposalSummary:
    """A proposal. ``pairs``: of trainings that verified it; ``claimed``: its gain, by its volunteer."""

    proposal: int
    by: str
    claimed: float
    claimed_error: float | None
    pairs: int
    state: str
    reason: str
    changed_at: str


@dataclass(frozen=True)
class Contributor:
    """A volunteer with blocks that count. ``gain``: their sum, in the task's unit, with a 95% interval."""

    name: str
    blocks: int
    gain: float
    low: float
    high: float


@dataclass(frozen=True)
class ProjectState:
    """All that status and the page show. ``proposals``: the latest; ``counts``: of all, by state; ``max_pairs_a_day``:
    None without a limit."""

    project: str
    title: str
    task: str
    unit: str
    gain: float
    blocks: list[BlockSummary]
    contributors: list[Contributor]
    proposals: list[ProposalSummary]
    counts: dict[str, int]
    volunteers: int
    verified_seconds: float
    max_pairs_a_day: int | None


def state_of(project: Project) -> ProjectState:
    """The state of a project now."""
    chain = project.chain.blocks()
    with project.database.read() as connection:
        people = {row.volunteer_id: row for row in connection.scalars(select(Volunteer))}
        latest = select(ProposalRow).order_by(ProposalRow.proposal_id.desc()).limit(MOST_SHOWN)
        proposals = [
            ProposalSummary(
                row.proposal_id, row.volunteer.label, row.claimed, row.claimed_error, row.pairs, row.state,
                row.reason, row.changed_at.isoformat(timespec="seconds"),
            )
            for row in connection.scalars(latest)
        ]  # fmt: skip
        by_state = select(ProposalRow.state, func.count()).group_by(ProposalRow.state)
        counts = dict(connection.execute(by_state).all())
        seconds = connection.scalar(select(func.sum(ProposalRow.device_seconds))) or 0.0
    blocks = block_rows(chain, people)
    return ProjectState(
        project=project.project_id,
        title=project.title,
        task=project.task.name,
        unit=project.task.unit,
        gain=blocks[-1].main_gain,
        blocks=blocks,
        contributors=contributors(blocks),
        proposals=proposals,
        counts=counts,
        volunteers=len(people),
        verified_seconds=seconds,
        max_pairs_a_day=cast("int | None", project.database.fact("limits").get("max_pairs_a_day")),
    )


def block_rows(chain: Sequence[Block], people: dict[int, Volunteer]) -> list[BlockSummary]:
    """The blocks in order. One that restores an earlier main has its height."""
    rows, heights = list[BlockSummary](), list[float]()
    for block in chain:
        test, restored = block.merge, block.trailers
        if test:
            heights.append(heights[-1] + test.gain)
        else:
            heights.append(heights[min(restored.void) - 1] if isinstance(restored, Voided) else 0.0)
        figures = (test.gain, test.low, test.high) if test else (0.0, 0.0, 0.0)
        proposer = people[test.proposer].label if test else "host"
        proposal = test.proposal if test else None
        rows.append(
            BlockSummary(
                block.number, proposer, *figures, heights[-1], block.merged_at, block.commit, proposal, block.void
            )
        )
    return rows


def contributors(blocks: Sequence[BlockSummary]) -> list[Contributor]:
    """The volunteers with blocks that count, the largest gain first."""
    merged: dict[str, list[BlockSummary]] = {}
    for block in blocks:
        if block.proposal and not block.void:
            merged.setdefault(block.by, []).append(block)
    rows = []
    for name, own_blocks in merged.items():
        gain = math.fsum(block.gain for block in own_blocks)
        half = math.sqrt(math.fsum(((block.high - block.low) / 2) ** 2 for block in own_blocks))
        rows.append(Contributor(name, len(own_blocks), gain, gain - half, gain + half))
    return sorted(rows, key=lambda row: (-row.gain, row.name))


def axes_of(state: ProjectState) -> tuple[Axis, Axis]:
    """Of the curve of main: blocks to the right, gain over block 0 upwards."""
    ends = (block.main_gain + end - block.gain for block in state.blocks for end in (block.low, block.high))
    x = Axis(-0.3, max(1, len(state.blocks) - 1) + 0.3, LEFT, WIDTH - RIGHT)
    return x, Axis.over((*ends, 1e-9), HEIGHT - BOTTOM, TOP)
