"""What the pages say beyond the board, worked out by the queue's process: courses of runs, credit, lineage of ideas.

Pages read it from the database: nothing of it is computed when somebody asks.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from analysis.ledger import segments
from analysis.study import open_study
from analysis.tables import rows
from arena.contest.courses import Courses
from arena.contest.descent import Descents, lineage
from arena.contest.settings import utc_now
from arena.contest.tables import ProgramCredit

if TYPE_CHECKING:
    from arena.contest.contest import Contest
    from arena.study import Study

PATIENCE = 20.0  # times as long as the last credit took, at least, before the next one: workers wait meanwhile
LEAST_SECONDS = 5.0
Row = dict[str, Any]


class Insight:
    """Keeps the tables behind the entry pages and the lineage page up to date."""

    def __init__(self, contest: Contest, study: Study) -> None:
        self.contest = contest
        self.courses, self.descents = Courses(contest, study), Descents(contest, study)
        self._stale = True
        self._next = 0.0

    def refresh(self, force: bool = False) -> None:
        """Courses at once, for they cost what is new; credit and lineage when the last ones have been paid off."""
        stored = self.courses.follow()  # both are to be asked, whatever the other says
        entered = self.descents.follow()
        self._stale = self._stale or bool(stored or entered)
        began = time.monotonic()
        if not self._stale or (not force and began < self._next):
            return
        from arena.contest.standing import whole_board  # which needs the database, and that these tables

        page = lineage(self.contest, list(whole_board(self.contest)))
        self.contest.database.set_fact("lineage", as_of=utc_now().isoformat(), **page)
        write_credit(self.contest)
        self._stale = False
        self._next = time.monotonic() + max(PATIENCE * (time.monotonic() - began), LEAST_SECONDS)


def write_credit(contest: Contest) -> None:
    """Credit every directive of every program, over the contest's own ledger; write down what has changed."""
    if not segments(contest.folder / "ledger"):
        return
    query = (Path(__file__).parent / "queries" / "directive_credit.sql").read_text(encoding="utf-8")
    with open_study(contest.folder, views=("credit",)) as con:
        credits: dict[str, list[Row]] = {}
        for row in rows(con.execute(query)):
            credits.setdefault(str(row.pop("program_id")), []).append(row)
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


def credit_of(contest: Contest, program_id: str) -> list[Row]:
    """Credit of each directive of a program; empty before its first run."""
    with contest.database.read() as connection:
        credit = connection.get(ProgramCredit, program_id)
        return list(credit.rows) if credit else []
