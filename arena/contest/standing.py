"""The board and the queue as they are read: a part at a time, from the tables, by their indices."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any
from weakref import WeakKeyDictionary

from sqlalchemy import Select, case, func, select
from sqlalchemy.orm import Session as Connection
from sqlalchemy.orm import undefer

from arena.contest.contest import Contest
from arena.contest.database import Database
from arena.contest.kept import Kept
from arena.contest.queue import HOST, Waiting, forecast, turns
from arena.contest.tables import ENDED, STATES, BoardRow, Change, Entry, Fact

BY_TURNS = 500  # rows that are read at once where all are asked for

Row = dict[str, Any]
Places = Mapping[int, tuple[int, float]]  # number → place in the queue, seconds until its last run ends


@dataclass(frozen=True)
class Part:
    """Which rows of a long list: ``most`` of them after the first ``skip``."""

    skip: int = 0
    most: int = 100

    @classmethod
    def page(cls, number: int, most: int) -> Part:
        return cls((max(number, 1) - 1) * most, most)


def board_head(connection: Connection) -> Row:
    """What is said of the board as a whole. ``arms``: its rows; ``gone``: those void since it was worked out."""
    found = connection.get(Fact, "board")
    head = dict(found.value) if found else {}
    head.pop("rows", None)  # as an earlier version kept them
    arms = select(func.count()).select_from(BoardRow)
    gone = arms.join(Entry, Entry.number == BoardRow.number).where(Entry.state == "void")
    return head | {"arms": int(connection.scalar(arms) or 0), "gone": int(connection.scalar(gone) or 0)}


def board_part(connection: Connection, contest: Contest, arms: int, part: Part) -> list[Row]:
    """Rows of the board, best first."""
    wanted = _rows().order_by(BoardRow.gain.desc(), BoardRow.arm_id).offset(part.skip).limit(part.most)
    return [_row(contest, arms, *found) for found in connection.execute(wanted)]


def board_of(connection: Connection, contest: Contest, arms: int, numbers: Iterable[int]) -> list[Row]:
    """The rows of these entries, best first."""
    wanted = _rows().where(BoardRow.number.in_(list(numbers))).order_by(BoardRow.gain.desc(), BoardRow.arm_id)
    return [_row(contest, arms, *found) for found in connection.execute(wanted)]


def whole_board(contest: Contest) -> Iterator[Row]:
    """All rows of one snapshot, best first, without holding them all."""
    with contest.database.read() as connection:
        arms = board_head(connection)["arms"]
        for skip in range(0, arms, BY_TURNS):
            yield from board_part(connection, contest, arms, Part(skip, BY_TURNS))


def _rows() -> Select[tuple[dict[str, Any], int, int, str]]:
    found = select(BoardRow.row, BoardRow.above, BoardRow.below, Entry.state)
    return found.join(Entry, Entry.number == BoardRow.number).where(Entry.state != "void")


def _row(contest: Contest, arms: int, row: Mapping[str, Any], above: int, below: int, state: str) -> Row:
    return {
        **row, "rank_low": 1 + above, "rank_high": arms - below, "state": state,
        "verified": state == "verified" and row["trust"] in ("scored", "verified", None),
        "hardware_class": contest.study.hardware_class,
    }  # fmt: skip


def pinned_numbers(connection: Connection, person_id: int | None) -> list[int]:
    """The controls, and the reader's own entries."""
    own = (
        (Entry.person_id.is_(None))
        if person_id is None
        else (Entry.person_id.is_(None) | (Entry.person_id == person_id))
    )
    return list(connection.scalars(select(Entry.number).where(own)))


def unmeasured(connection: Connection, part: Part, measured: int) -> tuple[list[Entry], int]:
    """Entries without a measured run, the latest first; how many there are beside those ``measured`` and the void."""
    without = Entry.number.not_in(select(BoardRow.number)) & (Entry.state != "void")
    found = select(Entry).where(without).order_by(Entry.number.desc()).offset(part.skip).limit(part.most)
    count = connection.scalar(select(func.count()).select_from(Entry).where(Entry.state != "void"))
    return list(connection.scalars(found)), int(count or 0) - measured


def voided(connection: Connection, most: int) -> tuple[list[Row], int]:
    """The void entries, the latest first, each with the verified gain of its runs ``as_it_was``; how many there are."""
    void = Entry.state == "void"
    found = select(Entry).options(undefer(Entry.results)).where(void).order_by(Entry.number.desc()).limit(most)
    count = connection.scalar(select(func.count()).select_from(Entry).where(void))
    return [{"entry": entry, "as_it_was": _gains(entry)} for entry in connection.scalars(found)], int(count or 0)


def _gains(entry: Entry) -> list[Row]:
    """task, n, mean verified gain of the measured runs."""
    by_task: dict[str, list[float]] = {}
    for result in entry.results.values():
        if result.get("gain") is not None:
            by_task.setdefault(str(result.get("task", "")), []).append(float(result["gain"]))
    return [{"task": task, "n": len(gains), "gain": fmean(gains)} for task, gains in by_task.items()]


def version(database: Database) -> tuple[int, int]:
    """(version of the board, number of the latest change of an entry): what tells whether anything is new."""
    with database.read() as connection:
        board = connection.scalar(select(Fact.value["version"].as_integer()).where(Fact.name == "board"))
        return int(board or 0), int(connection.scalar(select(func.max(Change.change))) or 0)


# -- the queue ---------------------------------------------------------------------------------------------------------

_kept: WeakKeyDictionary[Database, Kept[Places]] = WeakKeyDictionary()


def places(contest: Contest, run_seconds: float) -> Places:
    """Of every entry with runs to come, in the order of the queue; worked out once for all readers."""
    kept = _kept.setdefault(contest.database, Kept())
    return kept.get(version(contest.database)[1], lambda: _places(contest, run_seconds))


def _places(contest: Contest, run_seconds: float) -> Places:
    costs = contest.costs
    with contest.database.read() as connection:
        screened = func.sum(case((Entry.state.in_(("queued", "screening")), 0), else_=1))
        given = connection.execute(
            select(Entry.person_id, func.sum(Entry.runs_done), screened).group_by(Entry.person_id)
        ).all()
        columns = (Entry.number, Entry.person_id, Entry.state, Entry.runs_done, Entry.attempts)
        still = [state for state in STATES if state not in ENDED]
        rows = connection.execute(select(*columns).where(Entry.state.in_(still)).order_by(Entry.number)).all()
    served = {who or HOST: costs.of(runs, screenings) for who, runs, screenings in given}
    waiting = [
        Waiting(number, who or HOST, contest.config.wanted - done, state in ("queued", "screening"), suspect=lost > 0)
        for number, who, state, done, lost in rows
    ]
    return forecast(turns(waiting, served, costs), run_seconds, contest.study.workers)


def entries_of(connection: Connection, numbers: Sequence[int]) -> dict[int, Entry]:
    return {entry.number: entry for entry in connection.scalars(select(Entry).where(Entry.number.in_(numbers)))}
