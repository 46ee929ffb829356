"""Finds the entry that a person names, by any name that a page or a command shows."""

from __future__ import annotations

import re
from collections.abc import Mapping
from difflib import get_close_matches

from sqlalchemy import func, or_, select, true
from sqlalchemy.orm import Session as Connection

from arena.contest.contest import Contest
from arena.contest.stored import STOCK
from arena.contest.tables import ContestEntry
from programs.errors import NotFound, UsageError
from programs.text import one_line

MOST_SHOWN, MOST_CLOSE, CLOSENESS = 60, 3, 0.6
#: The names of stock's two entries; `stock` alone is the control.
CONTROLS = {"stock": "control", **{name.lower(): role for role, name in STOCK.items()}}


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
    same = or_(ContestEntry.entry_id == identity, ContestEntry.number == number, ContestEntry.role == role)
    for own in {name, name.partition(": ")[2] or name}:
        # SQLite knows the capitals of ASCII alone; what it would miss is compared below.
        same = or_(same, func.lower(ContestEntry.name) == func.lower(own) if own.isascii() else true())
    entries = connection.scalars(select(ContestEntry).where(same).order_by(ContestEntry.number)).all()
    programs = [entry for entry in entries if entry.role == "program"]
    lower = [e for e in programs if name.lower() in (e.label.lower(), e.name.lower())]
    exact = [e for e in entries if identity == e.entry_id or number == e.number]
    stock = [e for e in entries if e.role == role]
    ways = [exact, stock, [e for e in lower if name in (e.label, e.name)], lower]
    if exact and not (name.isdecimal() or exact[0].entry_id == name):  # another entry may be called `number 3`
        lower = list(dict.fromkeys((*exact, *lower)))
        ways = [lower]
    if (one := next((way[0] for way in ways if len(way) == 1), None)) is not None:
        return one
    shown = repr(name[:MOST_SHOWN])
    if lower:
        which = ", ".join(f"{e.number} ({e.label})" for e in lower[:5])
        raise UsageError(f"{shown}: entries {which} have this name", hint="give the number")
    near = close_names(connection, name)
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


def close_names(connection: Connection, name: str) -> list[str]:
    """The labels of the entries whose label or own name is most like ``name``."""
    rows = connection.scalars(select(ContestEntry).where(ContestEntry.role == "program")).all()
    return closest(name, {known.lower(): entry.label for entry in rows for known in (entry.label, entry.name)})


def closest(name: str, labels: Mapping[str, str]) -> list[str]:
    """The labels whose name in small letters, the key, is most like ``name``."""
    near = get_close_matches(name.lower(), labels, 2 * MOST_CLOSE, CLOSENESS)
    return sorted(list(dict.fromkeys(labels[known] for known in near))[:MOST_CLOSE])
