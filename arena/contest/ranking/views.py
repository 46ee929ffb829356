"""The data of the pages and the API."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from itertools import islice
from statistics import fmean
from typing import cast

from sqlalchemy import func, select
from sqlalchemy.orm import undefer

from analysis.statistics import mean_interval
from arena.contest.contest import Contest
from arena.contest.entering.acts import acts, since
from arena.contest.entering.copies import copy_sentence
from arena.contest.entering.entries import quota_used
from arena.contest.ranking.announced import digits_of, outcome, race_results
from arena.contest.ranking.standing import RowRange, Snapshot, at_work, snapshot
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
    VoidGain,
)
from arena.contest.running.pace import deciding, in_race, run_seconds
from arena.contest.settings import REPORT
from arena.contest.stored import LedgerHead
from arena.contest.tables import ENDED, ContestEntry, Person
from arena.serving.clock import iso, utc_now
from programs.common.errors import NotFound
from trainer.freshness import describe_freshness
from trainer.task import Task

PAGE, REST = 100, 25  # rows per page: of board and queue; of the entries below the board
MOST_ROWS = 500  # of any other list
#: Columns of an entry that do not change, with the mark of the entrant.
SIGNED = ("number", "entry_id", "entrant", "name", "role", "program_id", "sha256", "words", "received_at")
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
    entries = snapshot(contest).entries.values()
    states = Counter(entry.state for entry in entries)
    stock = next((entry.entry_id for entry in entries if entry.role == "control"), None)
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


def reached(contest: Contest, entry_ids: Iterable[str]) -> Reached:
    """What the entries' final sources need of each constraint, on average over their runs."""
    out: Reached = {}
    for entry_id in entry_ids if contest.task.constraints else ():
        runs = [run.get("constraints", {}) for run in contest.history.results(entry_id)]
        names = dict.fromkeys(name for values in runs for name in values)
        out[entry_id] = {name: fmean(values[name] for values in runs if name in values) for name in names}
    return out


def board_view(
    contest: Contest,
    part: RowRange | None = None,
    viewer: Person | None = None,
    rest: int = 1,
) -> BoardView:
    """``part``: by default the first page; ``rest``: the page of the entries without a measured run."""
    part, announcement, seen = part or RowRange(0, PAGE), contest.announcement(), snapshot(contest)
    rows, latest_first = list(seen.rows[part.skip : part.skip + part.most]), list(seen.entries.values())[::-1]
    own = seen.of_person(viewer.person_id) if viewer else []
    above = [entry.number for entry in (*seen.of_person(None), *own)] if len(seen.rows) > len(rows) else []
    pinned = seen.rows_of(above)
    measured, skip = {row["number"] for row in seen.rows}, (rest - 1) * REST
    void = [entry for entry in latest_first if entry.state == "void"]
    unmeasured = [entry for entry in latest_first if entry.number not in measured and entry.state != "void"]
    view: BoardView = {
        "as_of": seen.as_of, "unit": contest.task.unit, "digits": seen.digits, "aa_difference": seen.aa_difference,
        "fresh": describe_freshness(contest.task),
        "rows": rows, "own": [entry.number for entry in own], "pinned": pinned,
        "total": len(seen.rows), "skip": part.skip, "most": part.most,
        "unmeasured": [entry_row(entry, seen) for entry in unmeasured[skip : skip + REST]],
        "unmeasured_total": len(unmeasured), "unmeasured_skip": skip, "unmeasured_most": REST,
        "void": [{**entry_row(entry, seen), "as_it_was": void_gain(contest, entry)} for entry in void[:PAGE]],
        "void_total": len(void),
        "announcement": announcement, "since": since(contest, announcement), "wanted": contest.config.runs,
        "reached": reached(contest, [row["entry_id"] for row in (*rows, *pinned)]),
    }  # fmt: skip
    if race := in_race(contest):
        listed = {row["number"] for row in (*rows, *pinned, *view["unmeasured"])}
        view["race"] = {number: race[number] for number in listed & race.keys()}
    return view


def void_gain(contest: Contest, entry: ContestEntry) -> VoidGain | None:
    """What a void entry's measured runs gained."""
    if not (gains := contest.history.gains(entry.entry_id)):
        return None
    mean = mean_interval(gains)
    return {"n": mean.n, "gain": mean.or_zero, "low": mean.low, "high": mean.high}


def entry_row(entry: ContestEntry, seen: Snapshot) -> EntryRow:
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
        "runs_done": seen.runs_done.get(entry.number, 0),
    }


def entry_list(contest: Contest) -> list[ListedRow]:
    """All entries, in order of arrival."""
    seen = snapshot(contest)
    return [
        {
            **entry_row(entry, seen),
            "salt": entry.person.salt if entry.person else "",
        }
        for entry in seen.entries.values()
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
        query = select(ContestEntry).options(undefer(ContestEntry.raw))
        entry = connection.scalar(query.where(ContestEntry.entry_id == entry_id))
    if entry is None:
        raise NotFound(f"no entry {entry_id!r}"[:80], hint="the board lists them")
    return entry


def may_read(contest: Contest, entry: ContestEntry, viewer: Person | None, admin: bool = False) -> bool:
    """Whether the viewer may read the text: author and host always, others unless it is hidden until the close."""
    mine = viewer is not None and viewer.person_id == entry.person_id
    return admin or mine or entry.person_id is None or not contest.hides_texts


def entry_view(contest: Contest, entry: ContestEntry, viewer: Person | None, admin: bool = False) -> EntryView:
    open_to, hides, seen = may_read(contest, entry, viewer, admin), contest.hides_texts and not admin, snapshot(contest)
    mine = viewer is not None and viewer.person_id == entry.person_id
    controls = {control.number for control in seen.of_person(None)}
    decision = contest.announcement()
    won = {who["entry_id"] for who in decision.get("winners", ())}
    race = in_race(contest).get(entry.number, "")
    waits = entry.number in seen.positions and entry.state not in ENDED
    return {
        **entry_row(entry, seen),
        "unit": contest.task.unit,
        "board_digits": seen.digits,
        "mine": mine,
        "hidden": not open_to,
        "pace_measured": run_seconds(contest)[1],
        "standing": next(iter(seen.rows_of([entry.number])), None),
        "beside": seen.rows_of(controls - {entry.number}),
        "arms": len(seen.rows),
        "confirmed": next((row for row in decision.get("rows", []) if row["entry_id"] == entry.entry_id), None),
        "copy_of": "" if hides else copy_sentence(seen.copies.get(entry.number)),
        "outcome": outcome(entry.entry_id, decision),
        "race": race if race != entry.reason else "",
        "headline": decision.get("headline", "") if entry.entry_id in won else "",
        "places": race_results(decision),
        "digits": digits_of(decision) if decision.get("rows") else None,
        "queue": _waiting(seen, entry, at_work(contest)) if waits else None,
        "progress": contest.history.progress(entry.entry_id) if mine or admin else [],
        "reached": reached(contest, [entry.entry_id]),
        "results": contest.history.results(entry.entry_id),
        "lint": entry.lint if open_to else [],
        "acts": acts(contest, entry.number),
        "text": entry.raw.decode("utf-8") if open_to else None,
    }


def queue_view(contest: Contest, part: RowRange | None = None, viewer: Person | None = None) -> QueueView:
    part, seen = part or RowRange(0, PAGE), snapshot(contest)
    seconds, measured = run_seconds(contest)
    own = [entry.number for entry in (seen.of_person(viewer.person_id) if viewer else [])]
    pulse, busy = contest.database.fact("pulse"), at_work(contest)

    def rows(numbers: Iterable[int]) -> list[QueueRow]:
        return [_waiting(seen, seen.entries[number], busy) for number in numbers]

    return {
        "rows": rows(islice(seen.positions, part.skip, part.skip + part.most)),
        "own": sorted(rows(seen.positions.keys() & own), key=lambda row: row["place"]),
        "waiting": len(seen.positions),
        "skip": part.skip,
        "most": part.most,
        "run_seconds": round(seconds, 2),
        "measured": measured,
        "pulse": pulse.get("at"),
        "in_hand": pulse.get("in_hand", 0),
        "pause": contest.database.fact("pause"),
        "workers": contest.study.workers,
        "as_of": utc_now(),
    }


def _waiting(seen: Snapshot, entry: ContestEntry, busy: Mapping[int, int]) -> QueueRow:
    position, eta = seen.positions[entry.number]
    runs = busy.get(entry.number, 0)
    return {**entry_row(entry, seen), "place": position, "eta_seconds": round(eta, 1), "at_work": runs}


def host_rows(contest: Contest) -> list[HostRow]:
    """The entries for the host page: void ones first, then the latest first."""
    seen = snapshot(contest)
    programs = [entry for entry in seen.entries.values() if entry.role == "program"]
    programs.sort(key=lambda entry: (entry.state != "void", -entry.number))
    return [
        {
            **entry_row(entry, seen),
            "attempts": entry.attempts,
            "copy_of": copy_sentence(seen.copies.get(entry.number)),
        }
        for entry in programs[:MOST_ROWS]
    ]


def person_view(contest: Contest, person: Person) -> PersonView:
    decision, race, hides, seen = contest.announcement(), in_race(contest), contest.hides_texts, snapshot(contest)
    with contest.database.read() as connection:
        mine = select(ContestEntry).where(ContestEntry.person_id == person.person_id).order_by(ContestEntry.number)
        own: Sequence[ContestEntry] = connection.scalars(mine).all()
        used = quota_used(connection, person.person_id)
    confirmed = {row["number"]: row for row in decision.get("rows", ())}
    standings = {row["number"]: row for row in seen.rows_of(entry.number for entry in own)} | confirmed
    entries: list[OwnEntryRow] = [
        {
            **entry_row(entry, seen),
            "outcome": (entry.reason if entry.state == "void" else "")
            or outcome(entry.entry_id, decision)
            or race.get(entry.number, "")
            or ("" if hides else copy_sentence(seen.copies.get(entry.number))),
            "standing": standings.get(entry.number),
            "confirmed": entry.number in confirmed,
        }
        for entry in own
    ]
    return {
        "name": person.name,
        "joined_at": person.joined_at,
        "used": used,
        "quota": contest.config.entries_per_person,
        "unit": contest.task.unit,
        "digits": digits_of(decision) if decision.get("rows") else seen.digits,
        "entries": entries,
    }
