"""Finds the entry that a person names, by its number, its id or its name as pages and commands show it."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import select
from sqlalchemy.orm import Session as Connection

from arena.contest.stored import STOCK, entry_label
from arena.contest.tables import ContestEntry, Person
from programs.common.errors import NotFound
from programs.common.text import one_line

MOST_SHOWN = 60


class EntryName(NamedTuple):
    """What an entry is called."""

    number: int
    entry_id: str
    role: str
    label: str


def named_entries(connection: Connection) -> list[EntryName]:
    """The names of all entries, without their other columns: anybody may ask for one that does not exist."""
    columns = ContestEntry.number, ContestEntry.entry_id, ContestEntry.role, ContestEntry.name, Person.name
    rows = connection.execute(select(*columns).outerjoin(Person).order_by(ContestEntry.number))
    return [EntryName(*row[:3], STOCK.get(row[2]) or entry_label(row[4] or "host", row[3])) for row in rows]


def find_entry(connection: Connection, name: str) -> ContestEntry:
    """The entry with this number, id or label (`Ada: bold`). Raises NotFound."""
    name = one_line(name).strip()
    for entry in named_entries(connection):
        if name in (str(entry.number), entry.entry_id, entry.label):
            return connection.get_one(ContestEntry, entry.number)
    hint = "give its name, as on the board, or its number"
    raise NotFound(f"{name[:MOST_SHOWN]!r}: no such entry", hint=hint)
