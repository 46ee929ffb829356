"""Run curves, credit and lineage: computed by the queue's process and stored, so that pages only read them.

Credit takes seconds, on a busy machine many. It is computed beside the queue, so that progress and results go on.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict, cast

from pydantic import JsonValue
from sqlalchemy import func, select

from analysis.ledger import segments
from analysis.study import read_study
from analysis.tables import record, rows
from arena.contest.courses import Courses
from arena.contest.descent import Descents, lineage
from arena.contest.line_credit import DirectiveHolders, LineCredit, SharedTries, TriesByLine
from arena.contest.settings import utc_now
from arena.contest.standing import whole_board
from arena.contest.tables import ContestEntry, Course, ProgramCredit
from programs.errors import MetaloopError

if TYPE_CHECKING:
    import duckdb

    from arena.contest.contest import Contest
    from arena.study import Study

PATIENCE = 20.0  # minimum time between computations of credit, in multiples of the last one: it takes a core
LEAST_SECONDS = 5.0


class Insight:
    """Keeps the tables behind the entry pages and the lineage page up to date."""

    def __init__(self, contest: Contest, study: Study, say: Callable[[str], None]) -> None:
        self.contest, self.say = contest, say
        self.courses, self.descents = Courses(contest, study), Descents(contest, study)
        self._makers = {"lineage": write_lineage, "credit": write_credit}
        self._stale = set(self._makers)
        self._next = dict.fromkeys(self._makers, 0.0)
        self._pool = ThreadPoolExecutor(1, "insight")
        self._working: Future[None] | None = None
        self._failed = set[str]()  # by the pool's thread, read once it has ended

    def refresh(self, force: bool = False) -> None:
        """Update runs at once, which is cheap; credit and lineage if enough time has passed or ``force``. What cannot
        be computed is said and tried again later: the queue and the decision go on without it."""
        stored = self.courses.follow()  # both must run
        entered = self.descents.follow()
        if stored or entered:
            self._stale |= set(self._makers)
        if self._working is not None:
            if not force and not self._working.done():
                return
            self._end()
        due = [name for name in sorted(self._stale, reverse=True) if force or time.monotonic() >= self._next[name]]
        if not due:
            return
        self._stale -= set(due)
        self._working = self._pool.submit(self._publish, due)
        if force:
            self._end()

    def _end(self) -> None:
        """Wait for the computation. Raises what is no error of this program, such as a full disk."""
        working, self._working = self._working, None
        assert working is not None
        try:
            working.result()
        except MetaloopError as error:
            self.say(f"credit or lineage could not be computed and is tried again: {error.message}")
        finally:
            self._stale |= self._failed
            self._failed = set()

    def close(self) -> None:
        """Wait for a computation that is under way."""
        self._pool.shutdown()

    def _publish(self, due: Sequence[str]) -> None:
        self._failed = set(due)
        for name in due:
            began = time.monotonic()
            try:
                self._makers[name](self.contest)
                self._failed.discard(name)
            finally:
                self._next[name] = time.monotonic() + max(PATIENCE * (time.monotonic() - began), LEAST_SECONDS)


def write_lineage(contest: Contest) -> None:
    page = lineage(contest, list(whole_board(contest)))
    contest.database.set_fact("lineage", as_of=utc_now().isoformat(), **page)


def write_credit(contest: Contest) -> None:
    """Compute the credit of every directive of every program from the contest's ledger; write the changes."""
    if not segments(contest.folder / "ledger"):
        return
    with contest.database.read() as connection:
        runs = int(connection.scalar(select(func.count()).select_from(Course)) or 0)
    as_of = utc_now().isoformat()
    with read_study(contest.folder, views=("credit",)) as con:
        credits: dict[str, list[JsonValue]] = {}
        tries = tries_by_line(contest, con)
        each = rows(con.execute(_query("directive_credit")))
        for (program_id, _), some in groupby(each, lambda row: (str(row["program_id"]), row["position"])):
            of_line = [{key: value for key, value in row.items() if key != "position"} for row in some]
            credits.setdefault(program_id, []).extend(tries.credited(of_line))
    with contest.database.read() as connection:
        before = {credit.program_id: credit.rows for credit in connection.scalars(select(ProgramCredit)).all()}
    changed = {
        key: program_rows
        for key, program_rows in credits.items()
        if json.dumps(before.get(key)) != json.dumps(program_rows)
    }
    contest.database.merge(
        [ProgramCredit(program_id=program_id, rows=program_rows) for program_id, program_rows in changed.items()]
    )
    contest.database.set_fact("credit", as_of=as_of, runs=runs)


def tries_by_line(contest: Contest, con: duckdb.DuckDBPyConnection) -> TriesByLine:
    held = [record(row, DirectiveHolders) for row in rows(con.execute(_query("directive_holders")))]
    keys = {"ids": [one.directive_id for one in held], "keys": [one.key for one in held]}
    tries = [record(row, SharedTries) for row in rows(con.execute(_query("directive_tries"), keys))]
    numbers: dict[str, list[int]] = {}
    with contest.database.read() as connection:
        query = select(ContestEntry.program_id, ContestEntry.number).where(ContestEntry.role == "program")
        for program_id, number in connection.execute(query):
            numbers.setdefault(program_id, []).append(number)
    return TriesByLine(held, tries, numbers, {task.name: task.unit for task in contest.tasks})


def _query(name: str) -> str:
    return (Path(__file__).parent / "queries" / f"{name}.sql").read_text(encoding="utf-8")


class CreditFact(TypedDict, total=False):
    """The fact `credit`: when the credit was computed last, from the first ``runs`` runs that were stored."""

    as_of: str
    runs: int


def credit_fact(contest: Contest) -> CreditFact:
    return cast(CreditFact, contest.database.fact("credit"))


def credit_is_computed(contest: Contest, program_id: str) -> bool:
    with contest.database.read() as connection:
        return connection.get(ProgramCredit, program_id) is not None


def credit_of(contest: Contest, program_id: str) -> list[LineCredit]:
    """The directives of a program that have credit, on each task. Rows of an earlier version lack some columns. Before
    the decision nothing of the race is shown."""
    with contest.database.read() as connection:
        credit = connection.get(ProgramCredit, program_id)
    stored = credit.rows if credit else []
    lacking: dict[str, JsonValue] = {"task": None, "average": None, "averaged": 0, "failed": 0}
    lacking |= {"has_own": True, "others": 0, "entries": [], "named": len(contest.tasks) > 1}
    race: dict[str, JsonValue] = {"race_average": None, "raced": 0, "race_failed": 0, "race_kept": 0}
    race |= {"race_own": True, "race_others": 0}
    whole = [{**lacking, **race, **row} for row in stored if row["estimate"] is not None or row.get("raced")]
    if contest.phase() != "decided":
        whole = [{**row, **race, "entries": row["entries"] if row["others"] else []} for row in whole]
    shown = [record(row, LineCredit) for row in whole]
    return [row for row in shown if row.average is not None or row.is_adjusted or row.raced]


def entries_with_edits(contest: Contest, number: int, credit: Sequence[LineCredit]) -> dict[str, list[ContestEntry]]:
    """By directive of the entry of this ``number``: other entries with a line that has the same edits; no void ones."""
    wanted = {other for row in credit for other in row.entries}
    with contest.database.read() as connection:
        query = select(ContestEntry).where(ContestEntry.number.in_(wanted), ContestEntry.state != "void")
        named = {entry.number: entry for entry in connection.scalars(query) if entry.number != number}
    return {row.directive_id: [named[other] for other in row.entries if other in named] for row in credit}
