"""Removing an account: a person's name, token and sessions go; entries and results stay, under `former entrant N`.

Names are in the table of people alone: all else that is stored of entries has none.
"""

from __future__ import annotations

from datetime import datetime
from typing import TypedDict

from sqlalchemy import func, select
from sqlalchemy.orm import Session as Connection

from arena.contest.contest import Contest
from arena.contest.entering.accounts import PERSON, fresh
from arena.contest.settings import REPORT, Phase
from arena.contest.tables import ContestEntry, Person, Session
from arena.serving.names import FORMER
from arena.serving.tokens import hashed
from programs.common.errors import NotFound, UsageError

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
        f"Name, token and sessions are deleted. Entries, their texts and results stay under `{FORMER} N`{later}. "
        "Pages, card and new exports show that name, and the published report is taken down. "
        "Copies and exports made before keep the old one. This cannot be undone."
    )


def forget(contest: Contest, who: str | int) -> str:
    """Remove the account with this name or id; returns the name that stands there since. Raises as `account`."""
    with contest.database.write() as connection:
        person = account(connection, who)
        new = f"{FORMER} {person.person_id}"  # with which nobody can join
        person.name, person.name_key = new, new
        person.token_hash, person.salt = hashed(fresh(PERSON)), ""
        connection.query(Session).where(Session.person_id == person.person_id).delete()
    (contest.folder / REPORT).unlink(missing_ok=True)  # it has the name
    return new
