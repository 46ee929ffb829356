"""Reads the board and the queue from the tables, a range of rows at a time, using their indices."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from statistics import fmean
from typing import TypedDict, cast
from weakref import WeakKeyDictionary

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session as Connection
from sqlalchemy.orm import undefer

from analysis.statistics import Mean, mean_interval, mean_together
from analysis.wording import duration, many, number, span
from arena.contest.contest import Contest
from arena.contest.database import Database
from arena.contest.queue import forecast, in_line, turns
from arena.contest.race import leaders_of
from arena.contest.score import Scores
from arena.contest.settings import utc_now
from arena.contest.stored import BoardColumns, BoardFact, MeasuredRow, RunProgress, Separation, arm_label
from arena.contest.tables import BoardRow, ContestEntry, ContestFact, EntryChange
from arena.contest.throttled_cache import ThrottledCache
from arena.study import Study

BY_TURNS = 500  # rows per query when all are read
DIGITS = 3  # decimal places of gains before the first board
MOST_SEPARATING = 1000  # runs; more are not named
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


class VoidGain(TypedDict):
    """The average verified gain of the measured runs of a void entry."""

    n: int
    gain: float
    low: float | None
    high: float | None


def beside_stock(row: MeasuredRow, stock: Sequence[MeasuredRow], arms: int, digits: int) -> str:
    """How an entry of a board of ``arms`` rows and ``digits`` decimal places stands beside stock; empty for stock and
    without a measured run of it. Ranks that do not overlap separate two rows, as the rules say."""
    if not stock or row["role"] != "program":
        return ""
    gain = mean_together((one["gain"], one["se"], one["n"]) for one in stock)
    if row["rank_high"] < min(one["rank_low"] for one in stock):
        how = "significantly above"
    elif row["rank_low"] > max(one["rank_high"] for one in stock):
        how = "significantly below"
    else:
        how = "not separated from"
    said = f"{how} stock, which gains {number(gain.mean, digits)} on average over {many(gain.n, 'run')}"
    low, high = (-math.inf, math.inf) if row["low"] is None or row["high"] is None else (row["low"], row["high"])
    if how.startswith("not") and not low <= (gain.mean or 0.0) <= high:
        where = "above" if (gain.mean or 0.0) < low else "below"
        said += (
            f" (the interval is {where} that, but the test that ranks are based on is stricter: it allows for the "
            f"uncertainty of stock's gain and for all {math.comb(arms, 2)} pairs of rows, so it needs more runs)"
        )
    whole = (row["rank_low"], row["rank_high"]) == (1, arms)
    return f"{said}; so far no other row of the board is separated from this entry, either" if whole else said


def beside_parent(row: MeasuredRow, parent: MeasuredRow, digits: int) -> str:
    """By how much an entry gains more or less than the one that it is based on, with the interval of the difference."""
    scores = scores_of_rows((row, parent))
    apart, low, high = (row["gain"] or 0.0) - (parent["gain"] or 0.0), None, None
    if {row["number"], parent["number"]} <= set(scores.keys):
        apart, low, high = scores.over(row["number"], parent["number"])
    size = number(abs(apart), digits)
    how = "equal to" if size == number(0.0, digits) else f"{size} {'above' if apart > 0 else 'below'}"
    of_parent = f"{number(parent['gain'], digits)} over {many(parent['n'], 'run')}"
    if low is not None and high is not None and low < high:
        of_parent += f"; 95% interval of the difference: {span(low, high, digits)}"
        of_parent += ", which includes 0: not separated" * (low <= 0 <= high)
    return f"The gain is {how} that of its parent, {arm_label(parent)} ({of_parent})"


def scores_of_rows(rows: Iterable[MeasuredRow]) -> Scores[int]:
    """The average gains of rows, by number, with which their differences are tested."""
    return Scores(
        {row["number"]: Mean(row["gain"], row["se"] if row["n"] > 1 else None, row["n"], None, None) for row in rows}
    )


def order_remarks(connection: Connection, contest: Contest, board: BoardHead, rows: Sequence[MeasuredRow]) -> list[str]:
    """What has to be said of the order of a board; ``rows``: its first page, if that is shown."""
    if gone := board["gone"]:
        which = "an entry that was" if gone == 1 else f"{gone} entries that were"
        return [f"The ranks still count {which} declared void just now; they will follow within seconds."]
    apart = of_separation(connection, board.get("separate"), contest.costs.run)
    most = contest.config.most_leaders
    rows = [*rows, *_further_leaders(connection, contest, board["arms"], rows, most)]
    order = of_order(rows, leaders_of(rows, most), board.get("digits", DIGITS))
    return [said for said in (order, apart) if said]


def _further_leaders(
    connection: Connection, contest: Contest, arms: int, rows: Sequence[MeasuredRow], most: int
) -> list[BoardViewRow]:
    """The rows behind the first page, ``rows``, from which `race.leaders_of` finds the leaders of the whole board: of
    each of the ``most`` best programs, in the board's order, the earliest entry. None where nothing on the page would
    need them."""
    if len(rows) == arms or all(row["rank_low"] == 1 for row in rows):
        return []
    program, tied = ContestEntry.program_id, (BoardRow.above == 0, ContestEntry.role == "program")
    ordered = select(program).join(BoardRow, BoardRow.number == ContestEntry.number).where(*tied)
    ordered = ordered.order_by(BoardRow.gain.desc(), BoardRow.arm_id).execution_options(yield_per=most)
    best = set[str]()
    with connection.scalars(ordered) as programs:
        while len(best) < most and (found := next(programs, None)) is not None:
            best.add(found)
    first = select(func.min(BoardRow.number)).join(ContestEntry, ContestEntry.number == BoardRow.number)
    numbers = connection.scalars(first.where(*tied, program.in_(best)).group_by(program)).all()
    return board_of(connection, contest, arms, set(numbers) - {row["number"] for row in rows})


def of_order(rows: Sequence[MeasuredRow], leaders: Collection[int], digits: int) -> str:
    """Why an entry is not among the leaders although one with a lower gain is; empty if there is none such. ``rows``:
    of the board, best first; ``leaders``: numbers of those entries that would race. Not each entry of rank 1 would."""
    racing = [one["role"] != "program" or one["number"] in leaders for one in rows]
    for position, row in enumerate(rows):
        after = zip(rows[position + 1 :], racing[position + 1 :], strict=True)
        lower = [one for one, races in after if races and one["rank_low"] == 1]
        if row["role"] != "program" or row["rank_low"] == 1 or not lower:
            continue
        beside = next((one for one in lower if one["role"] == "program"), lower[0])
        name, other = arm_label(row), arm_label(beside)
        # all that is known is how many are better, not which, unless it is all with a higher gain
        better = arm_label(rows[0]) if position == row["rank_low"] - 1 else "an entry with a higher gain"
        first = f"{other} is among the leaders" if beside["role"] == "program" else f"The ranks of {other} begin at 1"
        out = "is not" if beside["role"] == "program" else "do not"
        return (
            f"{first} and {'' if beside['role'] == 'program' else 'those of '}{name}, with the higher gain, {out}. "
            f"The gain of {name} is known well enough (95% interval {span(row['low'], row['high'], digits)}) to be "
            f"significantly below that of {better}; the gain of {other} "
            f"({span(beside['low'], beside['high'], digits)}) is not, so it may still be the best."
        )
    return ""


def of_separation(connection: Connection, separate: Separation | None, run_seconds: float) -> str:
    """How many runs would separate the two best leaders; ``run_seconds``: device time of a run."""
    if separate is None or not separate["runs"]:
        return ""
    runs, two = separate["runs"], (separate["first"], separate["second"])
    entries = connection.scalars(select(ContestEntry).where(ContestEntry.entry_id.in_(two)))
    names = {entry.entry_id: entry.label for entry in entries}
    first, second = (names[entry_id] for entry_id in two)
    cost = f"about {many(runs, 'run')} of each, {duration(2 * runs * run_seconds)} of device time"
    cost = cost if runs <= MOST_SEPARATING else f"more than {MOST_SEPARATING:,} runs of each"
    return (
        f"To separate {first} and {second}, the two best leaders, would take {cost} (80% power, if their true "
        "difference is the one measured now)."
    )


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
    return [_row(contest, arms, *columns) for columns in connection.execute(wanted)]


def board_of(connection: Connection, contest: Contest, arms: int, numbers: Iterable[int]) -> list[BoardViewRow]:
    """The rows of these entries, best first."""
    wanted = _rows().where(BoardRow.number.in_(list(numbers))).order_by(BoardRow.gain.desc(), BoardRow.arm_id)
    return [_row(contest, arms, *columns) for columns in connection.execute(wanted)]


def whole_board(contest: Contest) -> Iterator[BoardViewRow]:
    """All rows of one snapshot, best first, as a stream."""
    with contest.database.read() as connection:
        arms = board_head(connection)["arms"]
        for skip in range(0, arms, BY_TURNS):
            yield from board_part(connection, contest, arms, RowRange(skip, BY_TURNS))


def _rows() -> Select[BoardColumns, int, int, str]:
    query = select(BoardRow.row, BoardRow.above, BoardRow.below, ContestEntry.state)
    return query.join(ContestEntry, ContestEntry.number == BoardRow.number).where(ContestEntry.state != "void")


def _row(contest: Contest, arms: int, row: BoardColumns, above: int, below: int, state: str) -> BoardViewRow:
    if state == "verified" and row["n"] < contest.config.runs:
        state = "running"  # the board is up to two seconds behind the entries
    return {
        **row,
        "rank_low": 1 + above,
        "rank_high": arms - below,
        "state": state,
        "verified": state == "verified" and row["trust"] in ("scored", "verified", None),
        "hardware_class": contest.study.hardware_class,
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
    return {"n": one.n, "gain": one.mean or 0.0, "low": one.low, "high": one.high}


def board_digits(contest: Contest) -> int:
    """Decimal places of the board's gains, the same on every page."""
    return cast(BoardFact, contest.database.fact("board")).get("digits", DIGITS)


def version(database: Database) -> tuple[int, int]:
    """(version of the board, confirming runs and phase, number of the latest change of an entry): equal if nothing has
    changed."""
    counts = {"board": "version", "deciding": "done"}
    with database.read() as connection:
        facts = [
            connection.scalar(select(ContestFact.value[key].as_integer()).where(ContestFact.name == name))
            for name, key in counts.items()
        ]
        state = connection.get(ContestFact, "state")
        phases = [state is not None and bool(state.value.get(key)) for key in ("close_asked", "deciding", "decided")]
        return sum(int(count or 0) for count in (*facts, *phases)), int(
            connection.scalar(select(func.max(EntryChange.change))) or 0
        )


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
    state = version(contest.database)[1], int(time.monotonic() / CACHED_SECONDS)
    return cache.get(state, lambda: _queue_positions(contest, run_seconds))


def _queue_positions(contest: Contest, run_seconds: float) -> QueuePositions:
    with contest.database.read() as connection:
        waiting, served = in_line(connection, contest.config.runs, contest.costs)
        active = select(ContestEntry.progress).where(ContestEntry.state.in_(("screening", "running")))
        runs = [run for progress in connection.scalars(active) for run in progress.get("runs", ())]
    order = forecast(turns(waiting, served, contest.costs), run_seconds, contest.study.workers)
    at_work = Study.open(contest.folder).is_running()  # without a process, the runs do not go on
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
