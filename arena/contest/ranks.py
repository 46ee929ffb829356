"""The history of ranks: what the board said of each entry after so many measured runs.

Recorded whenever the number of measured runs has grown by a sixteenth, so that a contest of thousands of entries keeps
some hundred points of each. What was recorded stays, also where an entry is declared void later. The runs of void
entries count among those that were measured, so that time does not run backwards.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from typing import NamedTuple, cast

from sqlalchemy import func, insert, literal, select
from sqlalchemy.orm import Session as Connection

from arena.contest.contest import Contest
from arena.contest.stored import BoardFact
from arena.contest.tables import BoardRow, RankPoint

SHARE = 16


class Rank(NamedTuple):
    """An entry's rank after ``runs`` measured runs of all entries."""

    runs: int
    position: int
    low: int
    high: int


def record_ranks(connection: Connection, version: int, runs: int, before: int) -> int:
    """Record the ranks of the board that has just been written, if enough runs were measured since the last time, after
    ``before`` runs; returns the number of runs at the latest recording."""
    if abs(runs - before) < max(1, before // SHARE):
        return before
    ranks = select(
        BoardRow.number, literal(version), literal(runs), _POSITION, 1 + BoardRow.above, _ARMS - BoardRow.below
    )
    columns = [column.name for column in RankPoint.__table__.columns]
    connection.execute(insert(RankPoint).from_select(columns, ranks))
    return runs


def rank_history(contest: Contest, numbers: Collection[int]) -> dict[int, list[Rank]]:
    """The recorded ranks of these entries, and those of the board now; number → ranks, from the earliest."""
    runs = cast(BoardFact, contest.database.fact("board")).get("runs")
    history: dict[int, list[Rank]] = defaultdict(list)
    latest = 0  # runs; an earlier version counted fewer after a void
    with contest.database.read() as connection:
        points = select(RankPoint).where(RankPoint.number.in_(numbers)).order_by(RankPoint.version)
        for point in connection.scalars(points):
            latest = max(latest, point.runs)
            if history[point.number] and history[point.number][-1].runs == latest:
                history[point.number].pop()
            history[point.number].append(Rank(latest, point.position, point.rank_low, point.rank_high))
        now = select(BoardRow.number, _POSITION.label("at"), 1 + BoardRow.above, _ARMS - BoardRow.below).subquery()
        for number, *ranks in connection.execute(select(now).where(now.c.number.in_(numbers))):
            if runs is not None:
                if history[number] and history[number][-1].runs >= runs:
                    history[number].pop()
                history[number].append(Rank(max(latest, runs), *ranks))
    return history


_POSITION = func.row_number().over(order_by=(BoardRow.gain.desc(), BoardRow.arm_id))
_ARMS = func.count().over()
