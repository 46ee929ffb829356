"""Removing accounts: a person's name, token and sessions go; entries and results stay, under `former entrant N`.

The process that runs the queue remembers names, so it carries the removals out itself, between two of its steps; where
no such process is running, the one that was asked does.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, TypedDict, cast

from sqlalchemy import func, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session as Connection

from arena.contest.accounts import PERSON, fresh, hashed
from arena.contest.contest import Contest
from arena.contest.database import Database
from arena.contest.lookup import closest
from arena.contest.names import FORMER
from arena.contest.settings import utc_now
from arena.contest.stored import NamedEntry, Removal, RemovalsFact, entry_label
from arena.contest.tables import BoardRow, ContestEntry, ContestFact, Person, Session
from arena.study import Study
from programs.errors import Busy, NotFound, UsageError
from programs.text import one_line

MOST_PEOPLE = 500  # on the host's page
RETRY_SECONDS, LOCK_SECONDS = 0.1, 1.0  # to wait for a process that holds the study's lock for a moment
FACT = "removals"


class PersonRow(TypedDict):
    """A person on the host's page. ``removed``: the account is gone; ``requested``: it will be in a moment."""

    person_id: int
    name: str
    joined_at: datetime
    entries: int
    removed: bool
    requested: bool


def people(contest: Contest) -> list[PersonRow]:
    """Who joined, the latest first; those whose account was removed last."""
    known = _removals(contest.database)
    requested, gone = known.get("asked", []), {one["name"] for one in known.get("done", [])}
    entered = select(ContestEntry.person_id, func.count().label("n")).group_by(ContestEntry.person_id).subquery()
    query = select(Person, func.coalesce(entered.c.n, 0)).outerjoin(entered, entered.c.person_id == Person.person_id)
    with contest.database.read() as connection:
        rows = connection.execute(query.order_by(Person.person_id.desc()).limit(MOST_PEOPLE)).all()
    listed: list[PersonRow] = [
        {
            "person_id": person.person_id,
            "name": person.name,
            "joined_at": person.joined_at,
            "entries": entries,
            "removed": person.name in gone,
            "requested": person.person_id in requested,
        }
        for person, entries in rows
    ]
    return sorted(listed, key=lambda row: row["removed"])


def unlisted(contest: Contest) -> int:
    """How many people `people` leaves out."""
    with contest.database.read() as connection:
        return max(0, connection.query(Person).count() - MOST_PEOPLE)


def removals(contest: Contest) -> list[Removal]:
    """The accounts that were removed."""
    return _removals(contest.database).get("done", [])


def queued(contest: Contest) -> int:
    """How many accounts will be removed in a moment."""
    return len(_removals(contest.database).get("asked", []))


def _former(person_id: int) -> str:
    """The name that stands for a removed account; nobody can join with it."""
    return f"{FORMER} {person_id}"


def check(contest: Contest, who: str) -> None:
    """Raise what `ask` would raise."""
    with contest.database.read() as connection:
        _account(connection, who)


def _account(connection: Connection, who: str | int) -> Person:
    same = Person.name == who if isinstance(who, str) else Person.person_id == who
    person = connection.scalar(select(Person).where(same))
    fact = connection.get(ContestFact, FACT)
    gone = {one["name"] for one in cast(RemovalsFact, fact.value if fact else {}).get("done", ())}
    if person is None:
        names = {name.lower(): name for name in connection.scalars(select(Person.name)) if name not in gone}
        near = closest(str(who), names)
        hint = f"did you mean {' or '.join(near)}?" if near else "the board and /host have the names"
        raise NotFound(f"no one is called {who!r}"[:80], hint=hint)
    if person.name in gone:
        raise UsageError("this account was removed before", hint="its entries and results stay")
    return person


def ask(contest: Contest, who: str | int) -> tuple[str, bool]:
    """Have the account with this name or id removed: now, or by the process that runs the queue, within seconds or at
    the end of the experiment in progress. Returns the name that stands there then, and whether it does already.

    Raises NotFound, or UsageError if the account was removed before.
    """
    with contest.database.write() as connection:
        person = _account(connection, who)
        fact = connection.get(ContestFact, FACT)
        known = cast(RemovalsFact, fact.value if fact else {})
        requested = [*known.get("asked", []), person.person_id]
        contest.database.put(connection, FACT, **{**known, "asked": list(dict.fromkeys(requested))})
        new = _former(person.person_id)
    return new, finish(contest, LOCK_SECONDS)


def finish(contest: Contest, seconds: float = 0.0) -> bool:
    """Carry out the removals that were asked for, trying for ``seconds`` to get the study's lock; returns whether none
    is left."""
    end, problems = time.monotonic() + seconds, list[str]()
    while _removals(contest.database).get("asked"):
        try:
            with Study.open(contest.folder):
                carry_out(contest.database, problems.append)
        except Busy:
            if time.monotonic() >= end:
                return False
            time.sleep(RETRY_SECONDS)
    if problems:
        raise UsageError("; ".join(problems), hint="the other accounts that were asked for are removed")
    return True


def carry_out(database: Database, say: Callable[[str], None]) -> bool:
    """Remove the accounts that were asked for; returns whether there were any. One that cannot be removed is said and
    no longer asked for: it stops neither the others nor the queue. Only the process that holds the study's lock may
    call it, and it must read names again afterwards."""
    if not _removals(database).get("asked"):
        return False
    with database.write() as connection:
        known = cast(RemovalsFact, connection.get_one(ContestFact, FACT).value)
        done = known.get("done", [])
        for person_id in known["asked"]:
            try:
                with connection.begin_nested():
                    removed = _remove(connection, connection.get_one(Person, person_id))
            except SQLAlchemyError as error:
                say(f"the account with id {person_id} could not be removed: {one_line(str(error))[:200]}")
            else:
                done = [*done, removed]
        database.put(connection, FACT, asked=[], done=done)
        board = connection.get(ContestFact, "board")
        if board is not None:  # open pages reload when it has a new version
            board.value = {**board.value, "version": cast(int, board.value.get("version", 0)) + 1}
    return True


def _removals(database: Database) -> RemovalsFact:
    return cast(RemovalsFact, database.fact(FACT))


def _remove(connection: Connection, person: Person) -> Removal:
    """Take a person's name out of the database, and end their token and sessions. An announcement that was made is
    shown with the new name from then on, and says so (`announced.renamed`)."""
    name, new = person.name, _former(person.person_id)
    person.name, person.token_hash = new, hashed(fresh(PERSON))
    connection.query(Session).where(Session.person_id == person.person_id).delete()
    every = connection.scalars(select(ContestEntry)).all()
    own = [entry for entry in every if entry.person_id == person.person_id]
    labels, now = {entry.label: entry.label for entry in every if entry not in own}, {}
    for entry in own:
        before = entry_label(name, entry.name)
        entry.name = _entry_name(entry, name, new)
        labels[before] = entry_label(new, entry.name)
        now[entry.number] = _named(entry, new)
        if (row := connection.get(BoardRow, entry.number)) is not None:
            row.row = {**row.row, "entrant": new, "name": entry.name}
    for name_of_fact in ("deciding", "state"):  # what the announcement will be made of
        if (fact := connection.get(ContestFact, name_of_fact)) is not None:
            fact.value = _renamed(fact.value, now, labels)
    if (said := connection.get(ContestFact, "announcement")) is not None:
        shown = _renamed(said.value, now, labels)
        said.value = shown if shown == said.value else {**shown, "renamed": [*shown.get("renamed", []), new]}
    return {"at": utc_now().isoformat(), "name": new}


def _entry_name(entry: ContestEntry, name: str, new: str) -> str:
    """The name of an entry without that of its entrant; `Ada 2` is called by its number in the contest, as its page
    and the commands state it."""
    numbered = entry.name.removeprefix(f"{name} ").isdecimal()
    own_words = re.compile(rf"(?<!\w){re.escape(name)}(?!\w)")
    return f"{new} (number {entry.number})" if numbered else own_words.sub(lambda _: new, entry.name)


def _named(entry: ContestEntry, entrant: str) -> NamedEntry:
    return {"entry_id": entry.entry_id, "number": entry.number, "entrant": entrant, "name": entry.name}


def _renamed(value: Any, now: Mapping[int, NamedEntry], labels: Mapping[str, str]) -> Any:
    """The same value of a fact with the new names, in the rows of entries and in sentences. ``labels``: of all entries,
    because the label of one may end with that of another."""
    if isinstance(value, dict):
        kept = {key: _renamed(one, now, labels) for key, one in value.items()}
        if "entrant" not in kept:
            return kept
        own = {key: value[key] for key in ("entrant", "name") if key in value}
        return kept | own | now.get(kept.get("number", 0), {})
    if isinstance(value, list):
        return [_renamed(one, now, labels) for one in value]
    if isinstance(value, str) and labels:
        longest_first = "|".join(re.escape(label) for label in sorted(labels, key=len, reverse=True))
        return re.sub(rf"(?<!\w)(?:{longest_first})(?!\w)", lambda match: labels[match[0]], value)
    return value
