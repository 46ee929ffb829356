"""The rows from which a child is compared with its parents."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class SideRun:
    """A verified run of one of two compared sides, the child's or the other one."""

    match_id: str
    run_seed: int
    child: bool
    gain: float


@dataclass(frozen=True)
class FamilyRun(SideRun):
    """A row of ``queries/family_runs.sql``: a run of an accepted child, or of one of its parents."""

    child_id: str
    parent_ids: list[str]
    program_id: str  # the child's or the parent's
    operator: str | None = None
    name: str = ""
    is_earlier: bool = (
        False  # of a match of a generation before the child's: its gain was known when the child was bred
    )
