"""The board: the standings computed from the ledger, joined with the entries."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence, Set
from dataclasses import asdict
from typing import TypeGuard, cast

from sqlalchemy import delete, select
from sqlalchemy.dialects.sqlite import insert as upsert

from analysis.ledger import segments
from analysis.statistics import error_of
from analysis.study import read_study
from analysis.verdict.decision import ArmGain, ArmsDifference, twins
from analysis.verdict.power import runs_needed
from analysis.verdict.standings import better_and_worse, counted_gains, standing, standings
from analysis.wording import decimals, estimate, typical
from arena.contest import arms
from arena.contest.contest import Contest
from arena.contest.plan import LEAST_FREEDOM, typical_sd
from arena.contest.settings import utc_now
from arena.contest.stored import ArmColumns, BoardColumns, BoardFact, MeasuredRow, NamedEntry, RankedRow, Separation
from arena.contest.tables import BoardRow, ContestEntry
from arena.contest.tally import MatchTally
from programs.ids import content_id
from programs.text import word_list

PATIENCE = 4.0  # minimum time between refreshes, in multiples of the time that the last one took
QUICK_SECONDS = 0.1
LEAST_SECONDS = 2.0  # between two boards: every open page reloads
KEPT = word_list("""
    arm_id program_id n gain se low high rank_low rank_high claimed words role trust failed_seeds
    device_seconds_charged tokens usd
""")
STATED = (
    "state",
    "rank_low",
    "rank_high",
)  # columns that are not stored with a row, because they change with other entries

ArmState = tuple[BoardColumns, int, int]  # row, above, below
BoardState = dict[str, ArmState]  # by arm


class ArmRow(ArmColumns):
    """An arm of a match, also without a measured run; its state is that of its entry."""

    gain: float | None
    rank_low: int | None
    rank_high: int | None
    state: str


class EntryColumns(NamedEntry):
    """The columns of a row that come from its entry."""

    state: str
    role: str
    words: int


class BoardUpdater:
    """Follows the ledger and writes the board to the database, where the pages read it."""

    def __init__(self, contest: Contest) -> None:
        self.contest = contest
        self.stale = True  # whether a run has been measured since the last refresh
        self.is_quick = True  # whether the last refresh took so little time that any run may cause one
        self._next = 0.0
        self._match_id = content_id("m", contest.study.study_id, arms.BOARD)
        self._tally = MatchTally(contest.folder / "ledger", self._match_id)
        self._entries: dict[str, EntryColumns] = {}  # by arm
        self._last = 0  # number of the latest entry in `_entries`
        self._touched: set[str] = set()  # arms to compute again, also of entries not yet in `_entries`
        self._rows: dict[str, BoardColumns] = {}
        self._samples: dict[str, tuple[float, float, int]] = {}  # arm → mean, variance of the mean, runs
        self._written: dict[str, ArmState] = {}

    def refresh(self, force: bool) -> None:
        """Write the board now if ``force``, else only after a pause: the workers wait for it."""
        began = time.monotonic()
        if not force and (began < self._next or not self.stale):
            return
        self.write()
        self.stale = False
        took = time.monotonic() - began
        self.is_quick = took < QUICK_SECONDS
        self._next = began + took + max(LEAST_SECONDS, PATIENCE * took)

    def rename(self) -> None:
        """Read the names of all entries again: an account was removed, from the table too."""
        self._entries = entries_by_arm(self.contest, self._match_id)
        for arm, row in self._rows.items():
            row["entrant"], row["name"] = self._entries[arm]["entrant"], self._entries[arm]["name"]
        self._written = {}

    def write(self) -> None:
        """Bring the table up to date with the ledger; writes only changes."""
        now = self._followed()
        if not self._written:
            self._recall()
        changed = [arm for arm, state in now.items() if self._written.get(arm) != state]
        gone = self._written.keys() - now.keys()
        if changed or gone:
            self._publish(now, changed, gone)
        self._written = now

    def _followed(self) -> BoardState:
        """The board, computed from the new records only."""
        self._look()
        arms_there = list(self._samples)
        means, errors, ns = zip(*self._samples.values(), strict=True) if arms_there else ((), (), ())
        above, below = better_and_worse(means, errors, ns)
        ranked_arms = zip(arms_there, above, below, strict=True)
        return {arm: (self._rows[arm], up, down) for arm, up, down in ranked_arms}

    def _look(self) -> None:
        """Read new entries, and compute the arms that have new records."""
        self._touched |= self._tally.look()
        if not self._touched <= self._entries.keys():
            self._entries |= entries_by_arm(self.contest, self._match_id, self._last)
            self._last = max((entry["number"] for entry in self._entries.values()), default=0)
        for arm in self._touched & self._entries.keys():
            runs = self._tally.rows(arm)
            columns = asdict(standing(runs))
            if columns["gain"] is None:  # no run yet, or void
                self._samples.pop(arm, None)
                continue
            gains = counted_gains(runs)
            self._samples[arm] = math.fsum(gains) / len(gains), error_of(gains), len(gains)
            row = {**{key: columns[key] for key in KEPT}, **self._entries[arm]}
            self._rows[arm] = lasting(cast(MeasuredRow, row))
        self._touched -= self._entries.keys()

    def _recall(self) -> None:
        """Read what an earlier process wrote to the table."""
        with self.contest.database.read() as connection:
            rows = connection.execute(select(BoardRow.arm_id, BoardRow.row, BoardRow.above, BoardRow.below)).all()
        self._written = {arm: (row, above, below) for arm, row, above, below in rows}

    def _publish(self, now: Mapping[str, ArmState], changed: Sequence[str], gone: Set[str]) -> None:
        """In one transaction: write the changed rows, delete those in ``gone``, update the fact `board`."""
        rows = [
            {"number": row["number"], "arm_id": arm, "gain": row["gain"], "above": above, "below": below, "row": row}
            for arm in changed
            for row, above, below in (now[arm],)
        ]
        whole = [ranked(*row_and_ranks, len(now)) for row_and_ranks in now.values()]
        whole.sort(key=lambda row: (-row["gain"], row["arm_id"]))
        before = cast(BoardFact, self.contest.database.fact("board"))
        with self.contest.database.write() as connection:
            statement = upsert(BoardRow)
            again = {name: statement.excluded[name] for name in ("arm_id", "gain", "above", "below", "row")}
            if rows:
                connection.execute(statement.on_conflict_do_update(index_elements=["number"], set_=again), rows)
            for arm in gone:
                connection.execute(delete(BoardRow).where(BoardRow.arm_id == arm))
            self.contest.database.put(
                connection,
                "board",
                version=before.get("version", 0) + 1,
                as_of=utc_now().isoformat(),
                digits=decimals(typical(row["se"] for row in whole)),
                aa_spread=aa_spread(whole),
                aa_difference=aa_difference(whole, self.contest.task.unit),
                separate=runs_to_separate(whole),
            )


def aa_spread(rows: Sequence[RankedRow]) -> float | None:
    """Largest difference between two arms of the same program."""
    apart = [
        abs(row["gain"] - other["gain"])
        for row in rows
        for other in rows
        if row["role"] == "a/a" and other["program_id"] == row["program_id"] and other is not row
    ]
    return max(apart, default=None)


def aa_of(rows: Sequence[RankedRow], unit: str) -> ArmsDifference | None:
    """The A/A difference of the two stock arms; None without two."""
    return twins(ArmGain(row["program_id"], row["role"], None, unit, row["n"], row["gain"], row["se"]) for row in rows)


def aa_difference(rows: Sequence[RankedRow], unit: str) -> str | None:
    """The A/A difference in a sentence."""
    aa = aa_of(rows, unit)
    return f"Stock minus stock (A/A): {estimate(aa.difference, aa.low, aa.high, aa.unit)}." if aa else None


def write(contest: Contest) -> None:
    """Compute and write the board from the whole ledger."""
    BoardUpdater(contest).write()


def ranked(row: BoardColumns, above: int, below: int, arms: int) -> RankedRow:
    """A row with its rank range among ``arms`` arms."""
    return {**row, "rank_low": 1 + above, "rank_high": arms - below}


def is_measured(row: ArmRow) -> TypeGuard[MeasuredRow]:
    return row["gain"] is not None


def lasting(row: MeasuredRow) -> BoardColumns:
    """The row without the columns that change with other entries."""
    return cast(BoardColumns, {key: value for key, value in row.items() if key not in STATED})


def board_rows(contest: Contest, label: str = arms.BOARD) -> list[ArmRow]:
    """One row per arm of the match ``label``, best first: the view `standings` joined with the entries."""
    if not segments(contest.folder / "ledger"):
        return []
    match_id = content_id("m", contest.study.study_id, label)
    with read_study(contest.folder, views=()) as con:
        rows = [row for row in standings(con) if row.match_id == match_id]
    known = entries_by_arm(contest, match_id)
    shown_rows = [
        {**{key: value for key, value in asdict(row).items() if key in KEPT}, **known[str(row.arm_id)]}
        for row in rows
        if row.arm_id in known
    ]
    return cast(list[ArmRow], shown_rows)


def runs_to_separate(rows: Sequence[RankedRow]) -> Separation | None:
    """Runs of each that would separate the first two leaders with 80% power; None with fewer, and before the noise of a
    run is known: the SD is that of a typical row (`plan.typical_sd`), and needs `plan.LEAST_FREEDOM`. An entry whose
    rank range begins later is separated from a better one already.

    Assumes that they are the only two and that their true difference is the current one.
    """
    entries = [row for row in rows if row["role"] == "program" and row["se"] and row["rank_low"] == 1]
    sd, freedom = typical_sd(rows)
    if len(entries) < 2 or freedom < LEAST_FREEDOM:
        return None
    first = entries[0]
    second = next((row for row in entries if row["program_id"] != first["program_id"]), None)
    if second is None:  # all entries have the same text
        return None
    needed = runs_needed(first["gain"] - second["gain"], sd)
    return {"first": first["entry_id"], "second": second["entry_id"], "runs": needed}


def entries_by_arm(contest: Contest, match_id: str, after: int = 0) -> dict[str, EntryColumns]:
    """arm → its entry, for entries with a number above ``after``."""
    with contest.database.read() as connection:
        entries: Sequence[ContestEntry] = connection.scalars(
            select(ContestEntry).where(ContestEntry.number > after)
        ).all()
    return {
        content_id("a", match_id, entry.entry_id): {
            "entry_id": entry.entry_id,
            "number": entry.number,
            "entrant": entry.entrant,
            "name": entry.name,
            "state": entry.state,
            "role": entry.role,
            "words": entry.words,
        }
        for entry in entries
    }
