"""The data of the pages and the API."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from itertools import islice
from statistics import fmean
from typing import cast

from sqlalchemy import func, select
from sqlalchemy.orm import undefer

from arena.contest.contest import Contest
from arena.contest.entering.acts import acts, since
from arena.contest.entering.copies import copies, copy_sentence
from arena.contest.entering.entries import quota_used
from arena.contest.ranking.announced import digits_of, outcome, race_results
from arena.contest.ranking.standing import (
    DIGITS,
    BoardViewRow,
    QueuePositions,
    RowRange,
    at_work,
    board_head,
    board_of,
    board_part,
    entries_of,
    pinned_numbers,
    queue_positions,
    unmeasured,
    voided,
)
from arena.contest.ranking.view_types import (
    BoardView,
    ContestView,
    EntryRow,
    EntryView,
    HostRow,
    ListedRow,
    OwnEntryRow,
    PersonView,
    QueueRow,
    QueueView,
    Reached,
)
from arena.contest.running.pace import deciding, in_race, run_seconds
from arena.contest.settings import REPORT
from arena.contest.stored import LedgerHead, MeasuredRow
from arena.contest.tables import ENDED, ContestEntry, EntryParent, Person
from arena.serving.clock import iso, utc_now
from programs.common.errors import NotFound
from trainer.freshness import describe_freshness
from trainer.task import Task

WHOLE = (ContestEntry.raw, ContestEntry.results)
PAGE, REST = 100, 25  # rows per page: of board and queue; of the entries below the board
MOST_ROWS = 500  # of any other list
#: Columns of an entry that do not change, with the mark of the entrant.
SIGNED = ("number", "entry_id", "entrant", "name", "role", "program_id", "sha256", "words", "received_at", "parent")
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


def unit_sentence(task: Task) -> str:
    """``Gain is in nats …: by how much the nll … of the final script is lower.``"""
    metric, unit = METRICS.get(task.metric, task.metric), UNITS.get(task.unit, task.unit)
    return f"Gain is in {unit}: by how much the {metric} of the final script is {task.direction}."


def contest_view(contest: Contest) -> ContestView:
    config, task = contest.config, contest.task
    state, head = contest.state(), cast(LedgerHead, contest.database.fact("ledger_head"))
    with contest.database.read() as connection:
        people = connection.scalar(select(func.count()).select_from(Person))
        counted = connection.execute(select(ContestEntry.state, func.count()).group_by(ContestEntry.state)).all()
        states = {str(state): int(count) for state, count in counted}
        stock = connection.scalar(select(ContestEntry.entry_id).where(ContestEntry.role == "control"))
    return {
        "contest_id": config.contest_id, "title": config.title, "phase": contest.phase(), "now": utc_now(),
        "opens": config.opens, "closes": contest.closed_at(), "closed_early": state.get("early", ""),
        "deciding": deciding(contest),
        "task": task.name, "task_id": contest.study.task_id, "metric": task.metric,
        "unit": task.unit, "gain": unit_sentence(task), "direction": task.direction, "description": task.description,
        "run_budget": config.run_budget, "screen_budget": config.screen_budget, "runs": config.runs,
        "confirm_runs": config.confirm_runs,
        "limits": [
            {"name": name, "limit": f"{one.bound}, {'hard' if one.hard else 'soft: decides nothing'}"}
            for name, one in task.constraints.items()
        ],
        "entries_per_person": config.entries_per_person, "texts_after_close": config.texts_after_close,
        "join": config.join, "contact": config.contact,
        "researcher": contest.study.researcher, "hardware_class": contest.study.hardware_class,
        "secret_hash": config.secret_hash, "rules_hash": config.rules_hash, "people": people, "states": states,
        "left": sum(count for state, count in states.items() if state not in ENDED),
        "close_asked": bool(state.get("close_asked")), "stock": stock, "report": (contest.folder / REPORT).is_file(),
        "ledger_head": head or None,
    }  # fmt: skip


def reached(contest: Contest, entries: Sequence[ContestEntry]) -> Reached:
    """What the entries' final sources need of each constraint, on average over their runs."""
    out: Reached = {}
    for entry in entries:
        values: dict[str, list[float]] = defaultdict(list)
        for run in entry.results.values():
            for name, value in run.get("constraints", {}).items():
                values[name].append(value)
        out[entry.entry_id] = {name: fmean(each) for name, each in values.items()}
    return out


def _with_results(contest: Contest, numbers: Collection[int]) -> Sequence[ContestEntry]:
    """The entries of these numbers with their results; none where the task has no constraint."""
    if not contest.task.constraints:
        return []
    with contest.database.read() as connection:
        query = select(ContestEntry).options(undefer(ContestEntry.results))
        return connection.scalars(query.where(ContestEntry.number.in_(numbers))).all()


def board_view(
    contest: Contest,
    part: RowRange | None = None,
    viewer: Person | None = None,
    rest: int = 1,
    admin: bool = False,
) -> BoardView:
    """``part``: by default the first page; ``rest``: the page of the entries without a measured run."""
    part, announcement = part or RowRange(0, PAGE), contest.announcement()
    with contest.database.read() as connection:
        board = board_head(connection)
        arms, gone = board["arms"], board["gone"]
        rows = board_part(connection, contest, arms, part)
        above = pinned_numbers(connection, viewer.person_id if viewer else None) if arms > len(rows) else []
        pinned = board_of(connection, contest, arms, above) if above else []
        mine = select(ContestEntry.number).where(ContestEntry.person_id == (viewer.person_id if viewer else -1))
        own = list(connection.scalars(mine))
        void, voids = voided(connection, PAGE)
        entries, without = unmeasured(connection, RowRange.page(rest, REST), arms - gone)
    view: BoardView = {
        "as_of": board.get("as_of"), "version": board.get("version", 0), "unit": contest.task.unit,
        "digits": board.get("digits", DIGITS),
        "aa_spread": board.get("aa_spread"), "aa_difference": board.get("aa_difference"),
        "fresh": describe_freshness(contest.task),
        "rows": rows, "own": own, "pinned": pinned, "total": arms - gone, "skip": part.skip, "most": part.most,
        "unmeasured": [entry_row(entry) for entry in entries], "unmeasured_total": without,
        "unmeasured_skip": (rest - 1) * REST, "unmeasured_most": REST,
        "void": [{**entry_row(entry), "as_it_was": gain} for entry, gain in void], "void_total": voids,
        "announcement": announcement, "since": since(contest, announcement), "wanted": contest.config.runs,
        "reached": reached(contest, _with_results(contest, [row["number"] for row in (*rows, *pinned)])),
    }  # fmt: skip
    if race := in_race(contest):
        listed = {row["number"] for row in (*rows, *pinned, *view["unmeasured"])}
        view["race"] = {number: race[number] for number in listed & race.keys()}
    return view


def entry_row(entry: ContestEntry) -> EntryRow:
    return {
        "entry_id": entry.entry_id,
        "number": entry.number,
        "entrant": entry.entrant,
        "name": entry.name,
        "role": entry.role,
        "program_id": entry.program_id,
        "sha256": entry.sha256,
        "words": entry.words,
        "received_at": entry.received_at,
        "state": entry.state,
        "reason": entry.reason,
        "changed_at": entry.changed_at,
        "runs_done": entry.runs_done,
    }


def entry_list(contest: Contest) -> list[ListedRow]:
    """All entries, in order of arrival."""
    with contest.database.read() as connection:
        entries = connection.scalars(select(ContestEntry).order_by(ContestEntry.number)).all()
        parents = {row.number: row.parent for row in connection.scalars(select(EntryParent))}
    return [
        {
            **entry_row(entry),
            "parent": parents.get(entry.number),
            "salt": entry.person.salt if entry.person else "",
        }
        for entry in entries
    ]


def signed_entries(contest: Contest) -> list[dict[str, object]]:
    """The columns of all entries that do not change, for the announcement's record in the ledger."""
    with contest.database.read() as connection:
        marks = {entry.number: entry.mark for entry in connection.scalars(select(ContestEntry))}
    rows = [{**row, "entrant": marks[row["number"]]} for row in entry_list(contest)]
    return [
        {name: iso(value) if isinstance(value := row[name], datetime) else value for name in SIGNED} for row in rows
    ]


def entry_of(contest: Contest, entry_id: str) -> ContestEntry:
    """The entry with its text. Raises NotFound."""
    with contest.database.read() as connection:
        query = select(ContestEntry).options(*map(undefer, WHOLE))
        entry = connection.scalar(query.where(ContestEntry.entry_id == entry_id))
    if entry is None:
        raise NotFound(f"no entry {entry_id!r}"[:80], hint="the board lists them")
    return entry


def entry_numbered(contest: Contest, number: int) -> ContestEntry | None:
    """The entry with its text."""
    with contest.database.read() as connection:
        return connection.get(ContestEntry, number, options=[*map(undefer, WHOLE)])


def may_read(contest: Contest, entry: ContestEntry, viewer: Person | None, admin: bool = False) -> bool:
    """Whether the viewer may read the text: author and host always, others unless it is hidden until the close."""
    mine = viewer is not None and viewer.person_id == entry.person_id
    return admin or mine or entry.person_id is None or not contest.hides_texts


def entry_view(contest: Contest, entry: ContestEntry, viewer: Person | None, admin: bool = False) -> EntryView:
    open_to, hides = may_read(contest, entry, viewer, admin), contest.hides_texts and not admin
    mine = viewer is not None and viewer.person_id == entry.person_id
    with contest.database.read() as connection:
        whole = board_head(connection)
        standing = next(iter(board_of(connection, contest, whole["arms"], [entry.number])), None)
        same = select(ContestEntry).join(EntryParent, EntryParent.parent == ContestEntry.number)
        parent = connection.scalar(same.where(EntryParent.number == entry.number))
        if parent and not (open_to and may_read(contest, parent, viewer, admin)):
            parent = None
        alike = {} if hides else copies(connection, [entry.number])
        others = [*pinned_numbers(connection, None), *([parent.number] if parent else [])]
        beside = board_of(connection, contest, whole["arms"], {*others} - {entry.number})
    said = contest.announcement()
    won = {who["entry_id"] for who in said.get("winners", ())}
    pace, measured = run_seconds(contest)
    order = queue_positions(contest, pace)
    return {
        **entry_row(entry),
        "unit": contest.task.unit,
        "board_digits": whole.get("digits", DIGITS),
        "mine": mine,
        "hidden": not open_to,
        "pace_measured": measured,
        "standing": standing,
        "beside": beside,
        "arms": whole["arms"],
        "confirmed": next((row for row in said.get("rows", []) if row["entry_id"] == entry.entry_id), None),
        "copy_of": copy_sentence(alike.get(entry.number)),
        "outcome": outcome(entry.entry_id, said),
        "race": race if (race := in_race(contest).get(entry.number, "")) != entry.reason else "",
        "headline": said.get("headline", "") if entry.entry_id in won else "",
        "places": race_results(said),
        "digits": digits_of(said) if said.get("rows") else None,
        "parent": entry_row(parent) if parent else None,
        "queue": _waiting(entry, order, at_work(contest))
        if entry.number in order and entry.state not in ENDED
        else None,
        "progress": entry.progress.get("runs", []) if mine or admin else [],
        "reached": reached(contest, [entry]),
        "results": [{"run": run, **entry.results[str(run)]} for run in sorted(map(int, entry.results))],
        "lint": entry.lint if open_to else [],
        "acts": acts(contest, entry.number),
        "text": entry.raw.decode("utf-8") if open_to else None,
    }


def queue_view(contest: Contest, part: RowRange | None = None, viewer: Person | None = None) -> QueueView:
    part = part or RowRange(0, PAGE)
    pace, measured = run_seconds(contest)
    order = queue_positions(contest, pace)
    with contest.database.read() as connection:
        shown = list(islice(order, part.skip, part.skip + part.most))
        known = entries_of(connection, shown)
        who = viewer.person_id if viewer else -1
        query = select(ContestEntry).where(ContestEntry.person_id == who, ContestEntry.state.not_in(ENDED))
        mine = connection.scalars(query)
        own = {entry.number: entry for entry in mine if entry.number in order}
    pulse, busy = contest.database.fact("pulse"), at_work(contest)
    return {
        "rows": [_waiting(known[number], order, busy) for number in shown if number in known],
        "own": sorted((_waiting(entry, order, busy) for entry in own.values()), key=lambda row: row["place"]),
        "waiting": len(order),
        "skip": part.skip,
        "most": part.most,
        "run_seconds": round(pace, 2),
        "measured": measured,
        "pulse": pulse.get("at"),
        "in_hand": pulse.get("in_hand", 0),
        "pause": contest.database.fact("pause"),
        "workers": contest.study.workers,
        "as_of": utc_now(),
    }


def _waiting(entry: ContestEntry, order: QueuePositions, busy: Mapping[int, int]) -> QueueRow:
    position, eta = order[entry.number]
    return {**entry_row(entry), "place": position, "eta_seconds": round(eta, 1), "at_work": busy.get(entry.number, 0)}


def host_rows(contest: Contest) -> list[HostRow]:
    """The entries for the host page: void ones first, then the latest first."""
    order = (ContestEntry.state != "void", ContestEntry.number.desc())
    with contest.database.read() as connection:
        query = select(ContestEntry).where(ContestEntry.role == "program").order_by(*order)
        entries = connection.scalars(query.limit(MOST_ROWS)).all()
        alike = copies(connection)
    return [
        {**entry_row(entry), "attempts": entry.attempts, "copy_of": copy_sentence(alike.get(entry.number))}
        for entry in entries
    ]


def person_view(contest: Contest, person: Person) -> PersonView:
    decided, race, hides = contest.announcement(), in_race(contest), contest.hides_texts
    with contest.database.read() as connection:
        mine = select(ContestEntry).where(ContestEntry.person_id == person.person_id).order_by(ContestEntry.number)
        own = connection.scalars(mine).all()
        board = board_head(connection)
        digits = board.get("digits", DIGITS)
        alike = {} if hides else copies(connection, [entry.number for entry in own])
        there = board_of(connection, contest, board["arms"], [entry.number for entry in own])
        rows: dict[int, MeasuredRow | BoardViewRow] = {row["number"]: row for row in (*there, *decided.get("rows", ()))}
        confirmed = {row["number"] for row in decided.get("rows", ())}
        entries: list[OwnEntryRow] = [
            {
                **entry_row(entry),
                "outcome": (entry.reason if entry.state == "void" else "")
                or outcome(entry.entry_id, decided)
                or race.get(entry.number, "")
                or copy_sentence(alike.get(entry.number)),
                "standing": rows.get(entry.number),
                "confirmed": entry.number in confirmed,
            }
            for entry in own
        ]
        used = quota_used(connection, person.person_id)
    return {
        "name": person.name,
        "joined_at": person.joined_at,
        "used": used,
        "quota": contest.config.entries_per_person,
        "unit": contest.task.unit,
        "digits": digits_of(decided) if decided.get("rows") else digits,
        "entries": entries,
    }


def entry_labels(contest: Contest) -> list[str]:
    """The names on the board of the latest entries, to choose a parent from."""
    query = select(ContestEntry).where(ContestEntry.role == "program", ContestEntry.state != "void")
    with contest.database.read() as connection:
        return [entry.label for entry in connection.scalars(query.order_by(ContestEntry.number.desc()).limit(PAGE))]
