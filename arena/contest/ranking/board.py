"""The board: the standings by the state of the study, joined with the entries."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence, Set
from dataclasses import asdict
from typing import TypeGuard, cast

from sqlalchemy import delete, select
from sqlalchemy.dialects.sqlite import insert as upsert

from analysis.ledger.run_state import RunState
from analysis.verdict.decision import ArmGain, ArmsDifference, twins
from analysis.verdict.standings import StandingRun, rank
from analysis.wording import decimals, estimate, typical
from arena.contest.contest import Contest
from arena.contest.entering.copies import copies
from arena.contest.running import arms
from arena.contest.stored import ArmColumns, BoardColumns, BoardFact, MeasuredRow, RankedRow
from arena.contest.tables import BoardRow, ContestEntry
from arena.serving.clock import utc_now
from arena.study.study import Study
from arena.work.spend import spend_of
from programs.common.ids import content_id
from programs.common.text import word_list
from trainer.trust import counts, weakest

PATIENCE = 4.0  # minimum time between refreshes, in multiples of the time that the last one took
QUICK_SECONDS = 0.1
LEAST_SECONDS = 2.0  # between two boards: every open page reloads
KEPT = word_list("""
    arm_id program_id n gain se low high rank_low rank_high claimed words role trust failed_seeds
    device_seconds_charged tokens usd
""")
STATED = ("state", "rank_low", "rank_high", "entrant", "name")  # not stored with a row: they change without its runs

BoardState = tuple[BoardColumns, int, int]  # row, above, below


class ArmRow(ArmColumns):
    """An arm of a match, also without a measured run; its state is that of its entry."""

    gain: float | None
    rank_low: int | None
    rank_high: int | None
    state: str


class BoardUpdater:
    """Computes the board from the study's state, and writes it to the database, where the pages read it."""

    def __init__(self, contest: Contest, study: Study) -> None:
        self.contest, self.study = contest, study
        self.stale = True  # whether a run has been measured since the last refresh
        self.is_quick = True  # whether the last refresh took so little time that any run may cause one
        self._next = 0.0
        self._written: dict[str, BoardState] | None = None  # by arm; None: to be read

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

    def write(self) -> None:
        """Bring the table up to date; writes only changes."""
        rows = [row for row in board_rows(self.contest, self.study) if is_measured(row)]
        now: dict[str, BoardState] = {
            row["arm_id"]: (lasting(row), row["rank_low"] - 1, len(rows) - row["rank_high"]) for row in rows
        }
        before = self._recalled() if self._written is None else self._written
        changed = [arm for arm, state in now.items() if before.get(arm) != state]
        gone = before.keys() - now.keys()
        if changed or gone:
            self._publish(rows, {arm: now[arm] for arm in changed}, gone)
        self._written = now

    def _recalled(self) -> dict[str, BoardState]:
        """What an earlier process wrote to the table."""
        with self.contest.database.read() as connection:
            rows = connection.execute(select(BoardRow.arm_id, BoardRow.row, BoardRow.above, BoardRow.below)).all()
        return {arm: (row, above, below) for arm, row, above, below in rows}

    def _publish(self, whole: Sequence[MeasuredRow], changed: Mapping[str, BoardState], gone: Set[str]) -> None:
        """In one transaction: write the changed rows, delete those in ``gone``, update the fact `board`."""
        rows = [
            {"number": row["number"], "arm_id": arm, "gain": row["gain"], "above": above, "below": below, "row": row}
            for arm, (row, above, below) in changed.items()
        ]
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


def aa_difference(rows: Sequence[RankedRow], unit: str, where: str = "") -> str | None:
    """The A/A difference in a sentence; None without two arms of stock. ``where``: in which runs."""
    aa = aa_of(rows, unit)
    return (
        f"Stock (A/A) minus stock (control){where}: {estimate(aa.lead.value, *aa.lead.interval(), aa.unit)}."
        if aa
        else None
    )


def is_measured(row: ArmRow) -> TypeGuard[MeasuredRow]:
    return row["gain"] is not None


def lasting(row: MeasuredRow) -> BoardColumns:
    """The row without the columns that change with other entries."""
    return cast(BoardColumns, {key: value for key, value in row.items() if key not in STATED})


def board_rows(contest: Contest, study: Study, *, with_copies: bool = True) -> list[ArmRow]:
    """The board of all entries, or of all but the copies of earlier ones; void ones have no gain there."""
    study.follow()
    with contest.database.read() as connection:
        entries = connection.scalars(select(ContestEntry)).all()
        left_out = {} if with_copies else copies(connection)
    return rows_of([entry for entry in entries if entry.number not in left_out], study, arms.BOARD)


def rows_of(entries: Sequence[ContestEntry], study: Study, label: str) -> list[ArmRow]:
    """One row per arm of these entries in the match ``label``, best first, as in the view `standings`. Entries that are
    void have no gain there."""
    match_id = content_id("m", study.config.study_id, label)
    known = {content_id("a", match_id, entry.entry_id): entry for entry in entries}
    played = [
        standing_run(run, entry.state == "void")
        for _, run in sorted(study.state.runs.items())
        if run.started and run.started.match_id == match_id and (entry := known.get(run.started.arm_id))
    ]
    kept: Counter[str] = Counter()
    for run in study.state.runs.values():
        if run.started and run.ended:
            kept[run.started.arm_id] += run.ended.kept
    rows = []
    for row in rank(played):
        entry = known[str(row.arm_id)]
        of_entry = {**entry.named, "state": entry.state, "role": entry.role, "words": entry.words}
        of_entry["kept"] = kept[str(row.arm_id)]
        rows.append({**{key: value for key, value in asdict(row).items() if key in KEPT}, **of_entry})
    return cast(list[ArmRow], rows)


def standing_run(run: RunState, void: bool) -> StandingRun:
    """The columns of the view `runs` that standings are made from."""
    assert run.started is not None
    started, ended = run.started, run.ended
    scores = [v for _, v in sorted(run.verifications.items()) if v.stream == started.stream]
    calls = spend_of(run.calls) if run.calls else None
    spend = ended if ended and ended.tokens is not None else calls
    return StandingRun(
        match_id=started.match_id, arm_id=started.arm_id, program_id=started.program_id,
        task=started.task, stream=started.stream, state=ended.state if ended else "running",
        claimed_gain=ended.claimed_gain if ended else None, verified_gain=run.gain,
        failed_seeds=sum(v.status not in ("ok", "baseline", "fault") for v in scores),
        trust=weakest(v.trust for v in scores if counts(v.status, v.trust)), device_seconds_charged=run.charged,
        tokens=spend.tokens if spend else None, usd=spend.usd if spend else None,
        wall_seconds=ended.wall_seconds if ended else None,
        experiment_wall_seconds=ended.experiment_wall_seconds if ended else None,
        score_stream=started.stream if scores else None, role=None, name=None, words=None, purpose=None, void=void,
    )  # fmt: skip
