"""Finds the entry that a person names, by its number, its id or its name as pages and commands show it."""

from __future__ import annotations

from sqlalchemy import and_, or_, select
from sqlalchemy.orm import Session as Connection

from arena.contest.stored import STOCK
from arena.contest.tables import ContestEntry, Person
from programs.common.errors import NotFound
from programs.common.text import one_line

MOST_SHOWN = 60
MOST_DIGITS = 18  # of a number that SQLite can hold


def find_entry(connection: Connection, name: str) -> ContestEntry:
    """The entry with this number, id or label (`Ada: bold`, `Ada 2`). Raises NotFound."""
    name = one_line(name).strip()
    number = int(name) if name.isascii() and name.isdecimal() and len(name) <= MOST_DIGITS else 0
    roles = [role for role, label in STOCK.items() if label == name]
    parts = (name.partition(": "), name.rpartition(" "))  # no name of a person has a colon
    labels = [and_(Person.name == entrant, ContestEntry.name == rest) for entrant, _, rest in parts]
    same = or_(ContestEntry.number == number, ContestEntry.entry_id == name, ContestEntry.role.in_(roles))
    entry = connection.scalar(select(ContestEntry).where(same)) or connection.scalar(
        select(ContestEntry).join(Person, Person.person_id == ContestEntry.person_id).where(or_(*labels))
    )
    if entry is not None and name in (str(entry.number), entry.entry_id, entry.label):
        return entry
    hint = "give its name, as on the board, or its number"
    raise NotFound(f"{name[:MOST_SHOWN]!r}: no such entry", hint=hint)
