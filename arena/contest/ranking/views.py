"""The data of the pages and the API: what a template is given is what the API answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from itertools import islice
from statistics import fmean
from typing import Any, NotRequired, cast

from pydantic import JsonValue
from sqlalchemy import func, select
from sqlalchemy.orm import undefer
from typing_extensions import TypedDict

from arena.contest.contest import Contest
from arena.contest.entering.acts import ActRow, acts, since
from arena.contest.entering.copies import copy_sentence
from arena.contest.entering.entries import quota_used
from arena.contest.ranking.announced import digits_of
from arena.contest.ranking.history import RunProgress, RunResult
from arena.contest.ranking.standing import RowRange, Snapshot, snapshot
from arena.contest.running.pace import ConfirmingRuns, deciding, run_seconds
from arena.contest.settings import REPORT, Phase
from arena.contest.stored import Announcement, LedgerHead, MeasuredRow, NamedEntry
from arena.contest.tables import ENDED, ContestEntry, Person
from arena.serving.clock import Moment, iso, utc_now
from programs.common.errors import NotFound
from trainer.freshness import describe_freshness
from trainer.task import Task

PAGE, REST = 100, 25  # rows per page: of board and queue; of the entries below the board
MOST_ROWS = 500  # of any other list
#: Columns of an entry that do not change, with the mark of the entrant.
SIGNED = ("number", "entry_id", "entrant", "name", "role", "program_id", "sha256", "words", "received_at")
#: Settings of contest.toml that every page has.
SETTINGS = (
    "contest_id", "title", "opens", "run_budget", "screen_budget", "runs", "confirm_runs", "entries_per_person",
    "texts_after_close", "join", "contact", "secret_hash", "rules_hash",
)  # fmt: skip
#: Metrics and units in words, for readers who do not know them.
METRICS = {
    "nll": "nll (negative log-likelihood, a loss)",
    "rmse": "rmse (root mean square error)",
    "bits_per_byte": "number of bits per byte (a loss)",
}
UNITS = {
    "nats": "nats (a loss in natural logarithms)",
    "SD": "SD (standard deviations of what is predicted)",
    "of the reference's": "shares of the reference's time",
}

Reached = dict[str, dict[str, float]]  # entry's id → constraint → average over the entry's runs


class TaskLimit(TypedDict):
    """A constraint of the task: its ``limit`` in words."""

    name: str
    limit: str


class ContestView(TypedDict):
    """The contest: task, budgets, times, phase. ``gain``: what a gain is, in sentences; ``digits``: decimal places of
    the board's gains and of the decision's; ``left``: entries with runs left; ``stock``: id of stock's first arm."""

    contest_id: str
    title: str
    phase: Phase
    now: Moment
    opens: Moment
    closes: Moment
    closed_early: str
    close_asked: bool
    deciding: ConfirmingRuns
    task: str
    task_id: str
    metric: str
    unit: str
    gain: str
    digits: int
    decision_digits: int | None
    direction: str
    description: str
    limits: list[TaskLimit]
    run_budget: float
    screen_budget: float
    runs: int
    confirm_runs: int
    run_seconds: float
    pace_measured: bool  # whether `run_seconds` comes from runs, not from the budget
    entries_per_person: int
    texts_after_close: bool
    join: str
    contact: str
    researcher: str
    hardware_class: str
    workers: int
    secret_hash: str
    rules_hash: str
    people: int | None
    states: dict[str, int]
    left: int
    stock: str | None
    report: bool  # whether it is published
    ledger_head: NotRequired[LedgerHead | None]  # hosts of before have none


def contest_view(contest: Contest) -> ContestView:
    config, task, study, seen = contest.config, contest.task, contest.study, snapshot(contest)
    state, (seconds, measured) = contest.state(), run_seconds(contest)
    with contest.database.read() as connection:
        people = connection.scalar(select(func.count()).select_from(Person))
    states = Counter(entry.state for entry in seen.entries.values())
    values = {
        **{name: getattr(config, name) for name in SETTINGS},
        "phase": contest.phase(), "now": utc_now(), "closes": contest.closed_at(),
        "closed_early": state.get("early", ""), "close_asked": bool(state.get("close_asked")),
        "deciding": deciding(contest),
        "task": task.name, "task_id": study.task_id, "metric": task.metric, "unit": task.unit,
        "gain": f"{unit_sentence(task)} {describe_freshness(task)}", "digits": seen.digits,
        "decision_digits": digits_of(seen.announcement) if seen.announcement.get("rows") else None,
        "direction": task.direction, "description": task.description,
        "limits": [
            {"name": name, "limit": f"{constraint.bound}, {'hard' if constraint.hard else 'soft: decides nothing'}"}
            for name, constraint in task.constraints.items()
        ],
        "run_seconds": round(seconds, 2), "pace_measured": measured,
        "researcher": study.researcher, "hardware_class": study.hardware_class, "workers": study.workers,
        "people": people, "states": states,
        "left": sum(count for state, count in states.items() if state not in ENDED),
        "stock": next((entry.entry_id for entry in seen.of_person(None)), None),
        "report": (contest.folder / REPORT).is_file(),
        "ledger_head": contest.database.fact("ledger_head") or None,
    }  # fmt: skip
    return cast(ContestView, values)


def unit_sentence(task: Task) -> str:
    """``Gain is in nats …: by how much the nll … of the final script is lower.``"""
    metric, unit = METRICS.get(task.metric, task.metric), UNITS.get(task.unit, task.unit)
    return f"Gain is in {unit}: by how much the {metric} of the final script is {task.direction}."


# -- entries ---------------------------------------------------------------------------------------------------------


class EntryRow(NamedEntry):
    """What everybody may know of an entry at once: hashes, but not the text. ``gain``: average of its measured runs;
    ``outcome``: of the decision; ``race``: how it stands in the race of the leaders, or why it is not in it, while it
    goes on; ``copy_of``: which earlier entry it behaves like, empty while that one's text is hidden; ``place`` and
    ``eta_seconds``: in the queue, if it has runs left; ``at_work``: its runs in progress."""

    role: str
    program_id: str
    sha256: str
    words: int
    received_at: Moment
    state: str
    reason: str
    changed_at: Moment
    attempts: int
    runs_done: int
    gain: float | None
    outcome: str
    race: str
    copy_of: str
    place: int | None
    eta_seconds: float | None
    at_work: int


COLUMNS = ("role", "program_id", "sha256", "words", "received_at", "state", "reason", "changed_at", "attempts")


def entry_row(seen: Snapshot, entry: ContestEntry, admin: bool = False) -> EntryRow:
    number, gains = entry.number, seen.gains.get(entry.number, ())
    place, seconds = seen.positions.get(number, (None, None)) if entry.state not in ENDED else (None, None)
    race = seen.race.get(number, "")
    values = {
        **entry.named,
        **{name: getattr(entry, name) for name in COLUMNS},
        "runs_done": len(gains),
        "gain": fmean(gains) if gains else None,
        "outcome": seen.outcomes.get(number, ""),
        "race": race if race != entry.reason else "",
        "copy_of": "" if seen.hides_texts and not admin else copy_sentence(seen.copies.get(number)),
        "place": place,
        "eta_seconds": seconds,
        "at_work": seen.at_work[number],
    }
    return cast(EntryRow, values)


class AcceptedRow(EntryRow):
    new: bool  # whether it was not there before
    lint: list[Any]


class OwnEntryRow(EntryRow):
    """``standing``: its row of the board; ``confirmed``: of the decision, if it took part."""

    standing: MeasuredRow | None
    confirmed: MeasuredRow | None


def own_entry_row(seen: Snapshot, entry: ContestEntry, admin: bool = False) -> OwnEntryRow:
    confirmed = (row for row in seen.announcement.get("rows", ()) if row["number"] == entry.number)
    standing = next(iter(seen.rows_of([entry.number])), None)
    return {**entry_row(seen, entry, admin), "standing": standing, "confirmed": next(confirmed, None)}


class EntryView(OwnEntryRow):
    """An entry with its standing, position in the queue, runs and, if the viewer may read it, its text. ``hidden``:
    whether it is hidden from the viewer; ``beside``: the rows of stock; ``arms``: rows of the board; ``headline``: of a
    winner."""

    mine: bool
    hidden: bool
    beside: list[MeasuredRow]
    arms: int
    headline: str
    progress: list[RunProgress]
    results: list[RunResult]
    reached: Reached
    lint: list[Any]
    acts: list[ActRow]
    text: str | None


def entry_view(contest: Contest, entry: ContestEntry, viewer: Person | None, admin: bool = False) -> EntryView:
    open_to, seen = may_read(contest, entry, viewer, admin), snapshot(contest)
    is_own = viewer is not None and viewer.person_id == entry.person_id
    won = entry.number in {who["number"] for who in seen.announcement.get("winners", ())}
    return {
        **own_entry_row(seen, entry, admin),
        "mine": is_own,
        "hidden": not open_to,
        "beside": seen.rows_of({control.number for control in seen.of_person(None)} - {entry.number}),
        "arms": len(seen.rows),
        "headline": seen.announcement["headline"] if won else "",
        "progress": contest.history.progress(entry.entry_id) if is_own or admin else [],
        "results": contest.history.results(entry.entry_id),
        "reached": reached(contest, [entry.entry_id]),
        "lint": entry.lint if open_to else [],
        "acts": acts(contest, entry.number),
        "text": entry.raw.decode("utf-8") if open_to else None,
    }


def entry_of(contest: Contest, entry_id: str) -> ContestEntry:
    """The entry with its text. Raises NotFound."""
    with contest.database.read() as connection:
        query = select(ContestEntry).options(undefer(ContestEntry.raw))
        entry = connection.scalar(query.where(ContestEntry.entry_id == entry_id))
    if entry is None:
        raise NotFound(f"no entry {entry_id!r}"[:80], hint="the board lists them")
    return entry


def may_read(contest: Contest, entry: ContestEntry, viewer: Person | None, admin: bool = False) -> bool:
    """Whether the viewer may read the text: author and host always, others unless it is hidden until the close."""
    is_own = viewer is not None and viewer.person_id == entry.person_id
    return admin or is_own or entry.person_id is None or not contest.hides_texts


def reached(contest: Contest, entry_ids: Iterable[str]) -> Reached:
    """What the entries' final sources need of each constraint, on average over their runs."""
    out: Reached = {}
    for entry_id in entry_ids if contest.task.constraints else ():
        runs = [run.get("constraints", {}) for run in contest.history.results(entry_id)]
        names = dict.fromkeys(name for values in runs for name in values)
        out[entry_id] = {name: fmean(values[name] for values in runs if name in values) for name in names}
    return out


def entry_list(contest: Contest) -> list[dict[str, object]]:
    """All entries, in order of arrival, as `entries.json` of an export has them. ``salt``: by which the entrant's name
    is compared with the ledger; empty once the account is removed."""
    seen, columns = snapshot(contest), (*SIGNED, "state", "reason", "changed_at")
    return [
        {
            **{name: getattr(entry, name) for name in columns},
            "runs_done": len(seen.gains.get(entry.number, ())),
            "salt": entry.person.salt if entry.person else "",
        }
        for entry in seen.entries.values()
    ]


def signed_entries(contest: Contest) -> list[dict[str, object]]:
    """The columns of all entries that do not change, for the announcement's record in the ledger."""
    rows = [{**{name: getattr(entry, name) for name in SIGNED}, "entrant": entry.mark} for entry in
            snapshot(contest).entries.values()]  # fmt: skip
    return [{name: iso(value) if isinstance(value, datetime) else value for name, value in row.items()} for row in rows]


# -- lists of entries ------------------------------------------------------------------------------------------------


class BoardView(TypedDict):
    """A range of the latest board, and a page of the entries without a measured run. ``own``: numbers of the viewer's
    entries; ``pinned``: the controls and these, if the board has more than one page; ``since``: entries of the
    announcement that became void later."""

    as_of: Moment
    aa_difference: str | None
    rows: list[MeasuredRow]
    own: list[int]
    pinned: list[MeasuredRow]
    total: int
    unmeasured: list[EntryRow]
    unmeasured_total: int
    void: list[EntryRow]
    void_total: int
    announcement: Announcement
    since: list[ActRow]
    reached: Reached


def board_view(
    contest: Contest, part: RowRange | None = None, viewer: Person | None = None, rest: RowRange | None = None
) -> BoardView:
    """``part``: by default the first page; ``rest``: that of the entries without a measured run."""
    part, rest, seen = part or RowRange(0, PAGE), rest or RowRange(0, REST), snapshot(contest)
    rows, latest_first = list(part.of(seen.rows)), list(seen.entries.values())[::-1]
    own_entries = seen.of_person(viewer.person_id) if viewer else []
    above = [entry.number for entry in (*seen.of_person(None), *own_entries)] if len(seen.rows) > len(rows) else []
    pinned, measured = seen.rows_of(above), {row["number"] for row in seen.rows}
    void = [entry for entry in latest_first if entry.state == "void"]
    unmeasured = [entry for entry in latest_first if entry.number not in measured and entry.state != "void"]
    return {
        "as_of": seen.as_of,
        "aa_difference": seen.aa_difference,
        "rows": rows,
        "own": [entry.number for entry in own_entries],
        "pinned": pinned,
        "total": len(seen.rows),
        "unmeasured": [entry_row(seen, entry) for entry in rest.of(unmeasured)],
        "unmeasured_total": len(unmeasured),
        "void": [entry_row(seen, entry) for entry in void[:PAGE]],
        "void_total": len(void),
        "announcement": seen.announcement,
        "since": since(contest, seen.announcement),
        "reached": reached(contest, [row["entry_id"] for row in (*rows, *pinned)]),
    }


class QueueView(TypedDict):
    """The entries with runs left, in the order of the queue, with the expected time. ``own``: those of the viewer, at
    any position; ``pulse``: when the workers last reported, with ``in_hand`` runs in progress."""

    rows: list[EntryRow]
    own: list[EntryRow]
    waiting: int
    pulse: JsonValue
    in_hand: JsonValue
    pause: dict[str, JsonValue]


def queue_view(contest: Contest, part: RowRange | None = None, viewer: Person | None = None) -> QueueView:
    part, seen = part or RowRange(0, PAGE), snapshot(contest)
    own_numbers = {entry.number for entry in seen.of_person(viewer.person_id)} if viewer else set()
    pulse = contest.database.fact("pulse")
    return {
        "rows": [entry_row(seen, seen.entries[n]) for n in islice(seen.positions, part.skip, part.skip + part.most)],
        "own": [entry_row(seen, seen.entries[number]) for number in seen.positions if number in own_numbers],
        "waiting": len(seen.positions),
        "pulse": pulse.get("at"),
        "in_hand": pulse.get("in_hand", 0),
        "pause": contest.database.fact("pause"),
    }


def host_rows(contest: Contest) -> list[EntryRow]:
    """The entries for the host page: void ones first, then the latest first."""
    seen = snapshot(contest)
    programs = [entry for entry in seen.entries.values() if entry.role == "program"]
    programs.sort(key=lambda entry: (entry.state != "void", -entry.number))
    return [entry_row(seen, entry, admin=True) for entry in programs[:MOST_ROWS]]


class PersonView(TypedDict):
    """A person's own page: quota and entries."""

    name: str
    joined_at: Moment
    used: int
    quota: int
    entries: list[OwnEntryRow]


def person_view(contest: Contest, person: Person) -> PersonView:
    seen = snapshot(contest)
    with contest.database.read() as connection:
        query = select(ContestEntry).where(ContestEntry.person_id == person.person_id).order_by(ContestEntry.number)
        own, used = connection.scalars(query).all(), quota_used(connection, person.person_id)
    return {
        "name": person.name,
        "joined_at": person.joined_at,
        "used": used,
        "quota": contest.config.entries_per_person,
        "entries": [own_entry_row(seen, entry) for entry in own],
    }
