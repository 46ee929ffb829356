"""Finds the entry that a person names, by any name that a page or a command shows."""

from __future__ import annotations

import re
from collections.abc import Mapping
from difflib import get_close_matches
from typing import NamedTuple

from sqlalchemy import select
from sqlalchemy.orm import Session as Connection

from arena.contest.contest import Contest
from arena.contest.stored import STOCK, entry_label
from arena.contest.tables import ContestEntry, Person
from programs.errors import NotFound, UsageError
from programs.text import one_line

MOST_SHOWN, MOST_CLOSE, CLOSENESS = 60, 3, 0.6
MOST_COMPARED = 300  # entries whose names are compared for a suggestion
#: The names of stock's two entries; `stock` alone is the control.
CONTROLS = {"stock": "control", **{name.lower(): role for role, name in STOCK.items()}}


class EntryName(NamedTuple):
    """What an entry is called."""

    number: int
    entry_id: str
    role: str
    name: str
    label: str


def named_entries(connection: Connection) -> list[EntryName]:
    """The names of all entries, without their other columns: anybody may ask for one that does not exist."""
    columns = ContestEntry.number, ContestEntry.entry_id, ContestEntry.role, ContestEntry.name, Person.name
    rows = connection.execute(select(*columns).outerjoin(Person).order_by(ContestEntry.number))
    return [EntryName(*row[:4], STOCK.get(row[2]) or entry_label(row[4] or "host", row[3])) for row in rows]


def find_entry(connection: Connection, name: str) -> ContestEntry:
    """The entry that is named by its label (`Ada: bold`) or its own name (`bold`), in any case where that is not
    ambiguous, or by its number, id or address; stock's by `stock (control)` or `stock`, and `stock (A/A)`, which name
    no entry of an entrant. A number in digits and an id are never ambiguous.

    Raises NotFound, with the closest names, or UsageError if several entries have the name.
    """
    name = one_line(name).strip()
    digits = re.fullmatch(r"(?:number |no\. ?|#)?([0-9]{1,9})", name, re.IGNORECASE)
    number = int(digits[1]) if digits else 0  # 0: of no entry
    address = re.fullmatch(r"(?:https?://)?[^/\s]*/entry/([^/?#.\s]+)(?:[/?#.]\S*)?", name)  # not in a name
    identity = address[1] if address else name
    role = CONTROLS.get(name.lower(), "")
    entries = named_entries(connection)
    programs = [entry for entry in entries if entry.role == "program"]
    lower = [e for e in programs if name.lower() in (e.label.lower(), e.name.lower())]
    exact = [e for e in entries if identity == e.entry_id or number == e.number]
    stock = [e for e in entries if e.role == role]
    ways = [exact, stock, [e for e in lower if name in (e.label, e.name)], lower]
    if exact and not (name.isdecimal() or exact[0].entry_id == name):  # another entry may be called `number 3`
        lower = list(dict.fromkeys((*exact, *lower)))
        ways = [lower]
    if (one := next((way[0] for way in ways if len(way) == 1), None)) is not None:
        return connection.get_one(ContestEntry, one.number)
    shown = repr(name[:MOST_SHOWN])
    if lower:
        which = ", ".join(f"{e.number} ({e.label})" for e in lower[:5])
        raise UsageError(f"{shown}: entries {which} have this name", hint="give the number")
    known = (
        {known.lower(): e.label for e in programs for known in (e.label, e.name)}
        if len(programs) <= MOST_COMPARED
        else {}
    )
    near = closest(name, known)
    hint = f"did you mean {' or '.join(near)}?" if near else "give its name, as on the board, or its number"
    raise NotFound(f"{shown}: no such entry", hint=hint)


def name_for_field(contest: Contest, entry: ContestEntry) -> str:
    """What "Based on entry" is filled with: the name on the board, the number where another entry has that name."""
    with contest.database.read() as connection:
        try:
            named = find_entry(connection, entry.label)
        except (NotFound, UsageError):
            return str(entry.number)
    return entry.label if named.number == entry.number else str(entry.number)


def closest(name: str, labels: Mapping[str, str]) -> list[str]:
    """The labels whose name in small letters, the key, is most like ``name``."""
    near = get_close_matches(name.lower(), labels, 2 * MOST_CLOSE, CLOSENESS)
    return sorted(list(dict.fromkeys(labels[known] for known in near))[:MOST_CLOSE])
