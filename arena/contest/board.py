"""The board: the standings of the contest as the ledger has them, joined with who entered what."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import select

from analysis.ledger import segments
from analysis.power import runs_needed
from analysis.report.standings import aa_spread
from analysis.standings import standings
from analysis.study import open_study
from arena.contest import arms
from arena.contest.contest import Contest
from arena.contest.score import overall
from arena.contest.settings import utc_now
from arena.contest.tables import Entry
from programs.ids import content_id

Row = dict[str, Any]

PATIENCE = 4.0  # times as long as the last refresh took, at least, before the next one
KEPT = (
    "arm_id", "program_id", "n", "gain", "se", "low", "high", "rank_low", "rank_high", "claimed", "words", "role",
    "trust", "failed_seeds", "device_seconds_charged", "tokens", "usd",
)  # fmt: skip


class Board:
    """Reads the ledger and leaves the board in the database, from where the pages take it."""

    def __init__(self, contest: Contest) -> None:
        self.contest = contest
        self.stale = True  # whether a run has been measured since
        self._next = 0.0

    def refresh(self, force: bool) -> None:
        """Now, or not before the last one has been paid off several times: workers wait meanwhile."""
        began = time.monotonic()
        if not force and (began < self._next or not self.stale):
            return
        write(self.contest)
        self.stale = False
        self._next = time.monotonic() + PATIENCE * (time.monotonic() - began)


def write(contest: Contest) -> None:
    before = contest.database.fact("board")
    rows, scales, unit = over_tasks(contest)
    if rows == before.get("rows"):
        return
    version = int(before.get("version", 0)) + 1
    contest.database.tell(
        "board", version=version, as_of=utc_now().isoformat(), rows=rows, unit=unit, scales=scales,
        aa_spread=aa_spread([row for row in rows if row["gain"] is not None]), separate=runs_to_separate(rows),
    )  # fmt: skip


def over_tasks(contest: Contest, kind: str = arms.BOARD) -> tuple[list[Row], list[Row], str]:
    """The rows over all tasks, the scale of each where there are several, the unit: `score.overall`."""
    first, *further = contest.tasks
    by_task = {first.name: board_rows(contest, kind)}
    by_task |= {task.name: board_rows(contest, arms.label_on(kind, task.name)) for task in further}
    return overall(by_task, {task.name: task.unit for task in contest.tasks})


def board_rows(contest: Contest, label: str) -> list[Row]:
    """One row an arm of the match ``label``, best first: the view `standings` beside the entry. Empty before a run."""
    if not segments(contest.folder / "ledger"):
        return []
    match_id = content_id("m", contest.study.study_id, label)
    with open_study(contest.folder, views=()) as con:
        found = [row for row in standings(con) if row.match_id == match_id]
    known = entries_by_arm(contest, match_id)
    return [
        {key: value for key, value in asdict(row).items() if key in KEPT} | known[row.arm_id]
        for row in found
        if row.arm_id in known
    ]


def runs_to_separate(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """What it would take to tell the first entry from the next: runs of each, power 80%; None where they are told.

    As if they were the only two, and their difference what it looks like.
    """
    entries = [row for row in rows if row["role"] == "program" and row["se"]]
    if len(entries) < 2 or entries[0]["rank_high"] == 1:
        return None
    first, second = entries[:2]
    sd = math.sqrt((first["se"] ** 2 * first["n"] + second["se"] ** 2 * second["n"]) / 2)
    needed = runs_needed(first["gain"] - second["gain"], sd)
    return {"first": first["entry_id"], "second": second["entry_id"], "runs": needed}


def entries_by_arm(contest: Contest, match_id: str) -> dict[str | None, dict[str, Any]]:
    with contest.database.read() as connection:
        entries: Sequence[Entry] = connection.scalars(select(Entry)).all()
    return {
        content_id("a", match_id, entry.entry_id): {
            "entry_id": entry.entry_id, "number": entry.number, "entrant": entry.entrant, "name": entry.name,
            "state": entry.state, "role": entry.role,
        }
        for entry in entries
    }  # fmt: skip
