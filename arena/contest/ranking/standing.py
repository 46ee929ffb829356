"""Reads the board and the queue from the tables, a range of rows at a time, using their indices."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from statistics import fmean
from typing import NotRequired, cast
from weakref import WeakKeyDictionary

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session as Connection
from sqlalchemy.orm import undefer
from typing_extensions import TypedDict

from analysis.statistics import mean_interval
from arena.contest.contest import Contest
from arena.contest.entering.copies import copies, copy_sentence
from arena.contest.running.queue import forecast, in_line, turns
from arena.contest.stored import BoardColumns, BoardFact, MeasuredRow, RunProgress
from arena.contest.tables import BoardRow, ContestEntry, ContestFact
from arena.serving.clock import utc_now
from arena.serving.database import Database
from arena.serving.throttled_cache import ThrottledCache
from arena.study.lock import is_taken

DIGITS = 3  # decimal places of gains before the first board
CACHED_SECONDS = 2.0  # of the order of the queue

QueuePositions = Mapping[int, tuple[int, float]]  # number → position in the queue, whole seconds to its last run's end


@dataclass(frozen=True)
class RowRange:
    """A range of rows of a long list: at most ``most`` after the first ``skip``."""

    skip: int = 0
    most: int = 100

    @classmethod
    def page(cls, number: int, most: int) -> RowRange:
        return cls((max(number, 1) - 1) * most, most)


class BoardHead(BoardFact):
    """The fact `board`, with ``arms``: its number of rows; ``gone``: those void since it was written."""

    arms: int
    gone: int


class BoardViewRow(MeasuredRow):
    """A row of the board as the pages show it."""

    verified: bool
    hardware_class: str
    copy_of: NotRequired[str]  # which earlier entry it behaves like; empty while texts are hidden


class VoidGain(TypedDict):
    """The average verified gain of the measured runs of a void entry."""

    n: int
    gain: float
    low: float | None
    high: float | None


def board_head(connection: Connection) -> BoardHead:
    fact = connection.get(ContestFact, "board")
    arms = select(func.count()).select_from(BoardRow)
    gone = arms.join(ContestEntry, ContestEntry.number == BoardRow.number).where(ContestEntry.state == "void")
    return {
        **cast(BoardFact, fact.value if fact else {}),
        "arms": int(connection.scalar(arms) or 0),
        "gone": int(connection.scalar(gone) or 0),
    }


def board_part(connection: Connection, contest: Contest, arms: int, part: RowRange) -> list[BoardViewRow]:
    """Rows of the board, best first."""
    wanted = _rows().order_by(BoardRow.gain.desc(), BoardRow.arm_id).offset(part.skip).limit(part.most)
    return _shown(connection, contest, arms, wanted)


def board_of(connection: Connection, contest: Contest, arms: int, numbers: Iterable[int]) -> list[BoardViewRow]:
    """The rows of these entries, best first."""
    wanted = _rows().where(BoardRow.number.in_(list(numbers))).order_by(BoardRow.gain.desc(), BoardRow.arm_id)
    return _shown(connection, contest, arms, wanted)


def whole_board(contest: Contest) -> list[BoardViewRow]:
    """All rows of one snapshot, best first."""
    with contest.database.read() as connection:
        arms = board_head(connection)["arms"]
        return board_part(connection, contest, arms, RowRange(0, arms))


def _rows() -> Select[BoardColumns, int, int, ContestEntry]:
    query = select(BoardRow.row, BoardRow.above, BoardRow.below, ContestEntry)
    return query.join(ContestEntry, ContestEntry.number == BoardRow.number).where(ContestEntry.state != "void")


def _shown(
    connection: Connection, contest: Contest, arms: int, query: Select[BoardColumns, int, int, ContestEntry]
) -> list[BoardViewRow]:
    found = list(connection.execute(query))
    alike = {} if contest.hides_texts else copies(connection, [entry.number for *_, entry in found])
    return [_row(contest, arms, *columns, copy_sentence(alike.get(columns[-1].number))) for columns in found]


def _row(
    contest: Contest, arms: int, row: BoardColumns, above: int, below: int, entry: ContestEntry, copy_of: str
) -> BoardViewRow:
    state = entry.state
    if state == "verified" and row["n"] < contest.config.runs:
        state = "running"  # the board is up to two seconds behind the entries
    return {
        **row,
        "entrant": entry.entrant,
        "name": entry.name,
        "rank_low": 1 + above,
        "rank_high": arms - below,
        "state": state,
        "verified": state == "verified" and row["trust"] in ("scored", "verified", None),
        "hardware_class": contest.study.hardware_class,
        "copy_of": copy_of,
    }


def pinned_numbers(connection: Connection, person_id: int | None) -> list[int]:
    """Numbers of the controls and of the reader's own entries."""
    own = (
        (ContestEntry.person_id.is_(None))
        if person_id is None
        else (ContestEntry.person_id.is_(None) | (ContestEntry.person_id == person_id))
    )
    return list(connection.scalars(select(ContestEntry.number).where(own)))


def unmeasured(connection: Connection, part: RowRange, measured: int) -> tuple[list[ContestEntry], int]:
    """Entries without a measured run, latest first; their number, void ones excluded."""
    without = ContestEntry.number.not_in(select(BoardRow.number)) & (ContestEntry.state != "void")
    query = select(ContestEntry).where(without).order_by(ContestEntry.number.desc()).offset(part.skip).limit(part.most)
    count = connection.scalar(select(func.count()).select_from(ContestEntry).where(ContestEntry.state != "void"))
    return list(connection.scalars(query)), int(count or 0) - measured


def voided(connection: Connection, most: int) -> tuple[list[tuple[ContestEntry, VoidGain | None]], int]:
    """The void entries, latest first, each with the verified gain of its runs; their number."""
    void = ContestEntry.state == "void"
    query = select(ContestEntry).options(undefer(ContestEntry.results)).where(void)
    query = query.order_by(ContestEntry.number.desc()).limit(most)
    count = connection.scalar(select(func.count()).select_from(ContestEntry).where(void))
    return [(entry, _gain(entry)) for entry in connection.scalars(query)], int(count or 0)


def _gain(entry: ContestEntry) -> VoidGain | None:
    gains = [gain for result in entry.results.values() if (gain := result["gain"]) is not None]
    if not gains:
        return None
    one = mean_interval(gains)
    return {"n": one.n, "gain": one.or_zero, "low": one.low, "high": one.high}


# -- the queue ---------------------------------------------------------------------------------------------------------


def at_work(contest: Contest) -> Counter[int]:
    """Number → the runs of an entry that are in progress, as the queue's process reported last."""
    return Counter(cast(list[int], contest.database.fact("pulse").get("numbers", [])))


_position_caches: WeakKeyDictionary[Database, ThrottledCache[QueuePositions]] = WeakKeyDictionary()


def queue_positions(contest: Contest, run_seconds: float) -> QueuePositions:
    """Positions of all entries with runs left, in the order of the queue; cached for all readers, for a moment: the
    estimates count down while nothing changes. Once the queue is over, one that the host reinstates waits for none."""
    if contest.phase() in ("deciding", "decided"):
        return {}
    cache = _position_caches.setdefault(contest.database, ThrottledCache())
    with contest.database.read() as connection:
        latest = connection.scalar(select(func.max(ContestEntry.number)))
    return cache.get((latest, int(time.monotonic() / CACHED_SECONDS)), lambda: _queue_positions(contest, run_seconds))


def _queue_positions(contest: Contest, run_seconds: float) -> QueuePositions:
    with contest.database.read() as connection:
        waiting, served = in_line(connection, contest.config.runs, contest.costs)
        active = select(ContestEntry.progress).where(ContestEntry.state.in_(("screening", "running")))
        runs = [run for progress in connection.scalars(active) for run in progress.get("runs", ())]
    order = forecast(turns(waiting, served, contest.costs), run_seconds, contest.study.workers)
    at_work = is_taken(contest.folder)  # without a process, the runs do not go on
    gone = elapsed(runs, utc_now(), run_seconds) if at_work else 0.0
    return {number: (position, max(1.0, round(seconds - gone))) for number, (position, seconds) in order.items()}


def elapsed(runs: Iterable[RunProgress], now: datetime, run_seconds: float) -> float:
    """Seconds since the runs in progress began, on average; of each at most nine tenths of ``run_seconds``: how much
    longer than usual a run takes is not known."""
    began = [(now - datetime.fromisoformat(run["began"])).total_seconds() for run in runs if "began" in run]
    return fmean([min(max(seconds, 0.0), 0.9 * run_seconds) for seconds in began] or [0.0])


def entries_of(connection: Connection, numbers: Sequence[int]) -> dict[int, ContestEntry]:
    entries = connection.scalars(select(ContestEntry).where(ContestEntry.number.in_(numbers)))
    return {entry.number: entry for entry in entries}
