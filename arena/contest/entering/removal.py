"""Removing an account: a person's name, token and sessions go; entries and results stay, under `former entrant N`.

What is stored of entries has no names, or the names of its time: pages, board and announcement look them up.
"""

from __future__ import annotations

import json
import re
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

from sqlalchemy import func, select
from sqlalchemy.orm import Session as Connection

from analysis.ledger.run_state import StudyState
from arena.contest.contest import Contest
from arena.contest.entering.accounts import PERSON, fresh
from arena.contest.settings import DATABASE, REPORT, Phase
from arena.contest.tables import ContestEntry, Person, Session
from arena.serving.names import FORMER
from arena.serving.tokens import hashed
from programs.common.errors import NotFound, UsageError

if TYPE_CHECKING:
    import duckdb

NAMED = ("runs", "standings", "programs")  # tables with the names of programs
MOST_PEOPLE = 500  # on the host's page


class PersonRow(TypedDict):
    """A person on the host's page. ``removed``: the account is gone."""

    person_id: int
    name: str
    joined_at: datetime
    entries: int
    removed: bool


def people(contest: Contest) -> list[PersonRow]:
    """Who joined, the latest first; those whose account was removed last."""
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
            "removed": person.name.startswith(FORMER),
        }
        for person, entries in rows
    ]
    return sorted(listed, key=lambda row: row["removed"])


def unlisted(contest: Contest) -> int:
    """How many people `people` leaves out."""
    with contest.database.read() as connection:
        return max(0, connection.query(Person).count() - MOST_PEOPLE)


def removed(contest: Contest) -> int:
    """How many accounts were removed."""
    with contest.database.read() as connection:
        return connection.query(Person).where(Person.name.startswith(FORMER)).count()


def recorded(contest: Contest) -> int:
    """How many removed accounts the ledger has the names of: those with an entry whose runs had begun."""
    entries = StudyState.read(contest.folder / "ledger").entries.values()
    named = [entry.entry_id for entry in entries if not entry.entrant.startswith(FORMER)]
    theirs = select(ContestEntry.person_id).where(ContestEntry.entry_id.in_(named))
    with contest.database.read() as connection:
        gone = connection.query(Person).where(Person.name.startswith(FORMER), Person.person_id.in_(theirs))
        return gone.count()


def rename(con: duckdb.DuckDBPyConnection, folder: Path) -> None:
    """If an account was removed, hide the tables of a contest's ledger behind temporary ones, in which a program has
    the name that its earliest entry has now, and the announcement its headline of now; else nothing."""
    contest = Contest.open(folder) if (folder / DATABASE).is_file() else None
    if contest is None or not removed(contest):
        return
    with contest.database.read() as connection:
        columns = select(ContestEntry.program_id, ContestEntry.name).order_by(ContestEntry.number.desc())
        names = {str(program_id): str(name) for program_id, name in connection.execute(columns)}
    con.execute("CREATE TEMP TABLE names_now (program_id VARCHAR, name VARCHAR)")
    con.executemany("INSERT INTO names_now VALUES (?, ?)", list(names.items()))
    now = "SELECT n.name FROM names_now AS n WHERE n.program_id = t.program_id"
    for table in NAMED:
        named = f"SELECT * REPLACE (coalesce(({now}), name) AS name) FROM {table} AS t"
        con.execute(f"CREATE OR REPLACE TEMP TABLE {table} AS {named}")
    con.execute(
        "CREATE TEMP TABLE events AS SELECT * REPLACE (CASE WHEN kind = 'announcement' THEN "
        "json_merge_patch(record, $1) ELSE record END AS record) FROM events",
        [json.dumps({"headline": contest.announcement().get("headline")})],
    )


def account(connection: Connection, who: str | int) -> Person:
    """The person with this name or id. Raises NotFound, or UsageError if the account was removed."""
    same = Person.name == who if isinstance(who, str) else Person.person_id == who
    person = connection.scalar(select(Person).where(same))
    if person is None:
        raise NotFound(f"no one is called {who!r}"[:80], hint="the board and /host have the names")
    if person.name.startswith(FORMER):
        raise UsageError("this account was removed before", hint="its entries and results stay")
    return person


def consequence(phase: Phase) -> str:
    """What a removal would do in this phase, as the command and the host's page say it."""
    decided = phase == "decided"
    later = "; the announced decision does not change" if decided else ", and take part as before unless you void them"
    return (
        f"Name, token and sessions are deleted. Entries and results stay under `{FORMER} N`{later}. "
        "Pages, card and new exports show that name, and the published report is taken down. "
        "The ledger cannot be changed. If a run of theirs has begun, it keeps the name: of the entrant, in names of "
        "entries such as `Ada 1`, and in a decision that was announced; so do the queue's log, and all copies and "
        "exports made before. This cannot be undone."
    )


def forget(contest: Contest, who: str | int) -> str:
    """Remove the account with this name or id; returns the name that stands there since. Raises as `account`."""
    with contest.database.write() as connection:
        person = account(connection, who)
        name, new = person.name, f"{FORMER} {person.person_id}"  # with which nobody can join
        person.name, person.token_hash = new, hashed(fresh(PERSON))
        connection.query(Session).where(Session.person_id == person.person_id).delete()
        for entry in connection.scalars(select(ContestEntry).where(ContestEntry.person_id == person.person_id)):
            entry.name = name_without(entry.name, entry.number, name, new)
    (contest.folder / REPORT).unlink(missing_ok=True)  # it has the name
    return new


def name_without(entry_name: str, number: int, entrant: str, new: str) -> str:
    """The name of an entry without that of its entrant, who is ``new`` now; `Ada 2` is called by its number in the
    contest, as its page and the commands state it."""
    numbered = entry_name.removeprefix(f"{entrant} ").isdecimal()
    own_words = re.compile(rf"(?<!\w){re.escape(entrant)}(?!\w)")
    return f"{new} (number {number})" if numbered else own_words.sub(lambda _: new, entry_name)
