"""The matches of a contest, whose arms join as entries come: what the arena plays, and what the ledger is told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from analysis.events import EntryEvent
from arena.contest.tables import Entry
from arena.jobs import RunJob
from arena.match import Arm, Match, announcement, run_job
from arena.study import Study
from programs.ids import content_id
from programs.program import Program
from trainer.streams import Stream

BOARD, SCREENING, CONFIRMATION, HIDDEN = "board", "screening", "confirmation", "hidden"
_PURPOSE = {BOARD: "contest", SCREENING: "screening", CONFIRMATION: "confirmation", HIDDEN: "reserve"}
_STREAM: dict[str, Stream] = {
    BOARD: "selection", SCREENING: "search", CONFIRMATION: "confirmation", HIDDEN: "reserve",
}  # fmt: skip


def match_of(study: Study, kind: str, arms: Sequence[Arm] = ()) -> Match:
    """One of the contest's matches, by its kind, on the task that the study is on."""
    label = label_on(kind, study.task.name if study.away else "")
    match_id = content_id("m", study.config.study_id, label)
    return Match(match_id, label, _PURPOSE[kind], _STREAM[kind], tuple(arms))


def label_on(kind: str, task: str) -> str:
    """What names the match in the study. ``task``: the name of the one that it is on; empty: the first."""
    return f"{kind}-{task}" if task else kind


def arm_of(match: Match, entry: Entry, twin: int) -> Arm:
    """The arm of an entry: a number of its own, for two entries of one program are two samples.

    ``twin``: entries of the same program before it, which draw other run seeds.
    """
    program = Program.parse(entry.raw, entry.name, file="program.md")
    return Arm(content_id("a", match.match_id, entry.entry_id), program, entry.role, twin)


def admit(study: Study, entry: Entry, arms: Sequence[tuple[Study, Match, Arm]]) -> None:
    """Tell the ledger of an entry: its text, who sent it, its arms. Told twice, after a kill, it counts once."""
    program = arms[0][2].program
    study.admit(program, generation=0, operator="entry" if entry.person_id else "control")
    for on, match, arm in arms:
        study.record(announcement(on, replace(match, arms=(arm,))))
    study.record(
        EntryEvent(
            entry_id=entry.entry_id,
            number=entry.number,
            entrant=entry.entrant,
            role=entry.role,
            program_id=entry.program_id,
            sha256=entry.sha256,
            received_at=entry.received_at.isoformat(),
            arm_ids=tuple(arm.arm_id for _, _, arm in arms),
        )
    )


def screening_job(study: Study, match: Match, arm: Arm, budget: float) -> RunJob:
    """A short run that nobody measures."""
    return replace(run_job(study, match, arm, 0), budget=budget, verify_seeds=())
