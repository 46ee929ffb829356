"""The matches of a contest, whose arms are added as entries come, and their ledger records."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from analysis.ledger.events import EntryEvent
from arena.arms import Arm, Match, TaskMatch
from arena.contest.tables import ContestEntry
from arena.match import announcement
from arena.measuring import run_job
from arena.study.study import Study
from arena.study.task_study import TaskStudy
from arena.work.jobs import RunJob
from programs.common.ids import content_id
from programs.program import Program
from trainer.streams import Stream

BOARD, SCREENING, CONFIRMATION = "board", "screening", "confirmation"
_PURPOSE = {BOARD: "contest", SCREENING: "screening", CONFIRMATION: "confirmation"}
_STREAM: dict[str, Stream] = {
    BOARD: "selection",
    SCREENING: "search",
    CONFIRMATION: "confirmation",
}


def match_of(on: TaskStudy, kind: str, arms: Sequence[Arm] = ()) -> Match:
    """The contest's match of this kind."""
    match_id = content_id("m", on.config.study_id, kind)
    return Match(match_id, kind, _PURPOSE[kind], _STREAM[kind], tuple(arms))


def arm_of(match: Match, entry: ContestEntry, twin: int) -> Arm:
    """The arm of an entry. Two entries of one program have two arms, because they are two samples.

    ``twin``: how many earlier entries have the same program; each draws its own run seeds.
    """
    name = f"entry {entry.number}" if entry.name.isdecimal() else entry.name
    program = Program.parse(entry.raw, name, file="program.md")
    return Arm(content_id("a", match.match_id, entry.entry_id), program, entry.role, twin)


def admit(study: Study, entry: ContestEntry, arms: Sequence[tuple[TaskMatch, Arm]]) -> None:
    """Record an entry in the ledger: text, entrant, arms. Recorded twice, after a kill, it counts once."""
    program = arms[0][1].program
    study.admit(program, generation=0, operator="entry" if entry.person_id else "control")
    for match, arm in arms:
        study.record(announcement(match.on, replace(match.match, arms=(arm,))))
    study.record(
        EntryEvent(
            entry_id=entry.entry_id,
            number=entry.number,
            entrant=entry.mark,
            role=entry.role,
            program_id=entry.program_id,
            sha256=entry.sha256,
            received_at=entry.received_at.isoformat(),
            arm_ids=tuple(arm.arm_id for _, arm in arms),
        )
    )


def screening_job(each: TaskMatch, arm: Arm, budget: float) -> RunJob:
    """A short run without verification."""
    return replace(run_job(each.on, each.match, arm, 0), budget=budget, verify_seeds=(), verify_splits=())
