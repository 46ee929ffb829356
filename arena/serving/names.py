"""Checks names of entrants and volunteers: letters of other alphabets can look like Latin ones, so these alone pass."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from programs.common.errors import UsageError

MOST_NAME = 40
RESERVED = ("host", "stock", "admin")
FORMER = "former entrant"  # begins the names of removed accounts
MARKS = " -_.'"
WITHOUT_ACCENT = "ßæœøđłþðı"  # Latin letters that Unicode does not make of an ASCII letter and accents
SAME = str.maketrans({"0": "o", "1": "l", "i": "l", "ı": "l", "-": " ", "_": " ", ".": " ", "'": " "})


def checked_name(name: str, starts: Sequence[str] = (FORMER,)) -> str:
    """The name in Unicode normal form NFKC: Latin letters with accents, digits, spaces and a few marks. Raises
    UsageError, also for a name like a reserved one, or that begins like one of ``starts``."""
    name = " ".join(unicodedata.normalize("NFKC", name).split())
    if fault := _fault(name):
        raise UsageError(fault, hint="Latin letters, also with accents, digits, spaces, - _ . and '")
    key = name_key(name)
    if key in map(name_key, RESERVED) or key.startswith(tuple(map(name_key, starts))):
        raise UsageError(f"the name {name} is reserved", hint="choose another")
    return name


def name_key(name: str) -> str:
    """What two names share that differ in case, marks between words, or 0 for O, 1 or I for L, rn for m, vv for w."""
    plain = unicodedata.normalize("NFKC", name).casefold().translate(SAME)
    return " ".join(plain.replace("rn", "m").replace("vv", "w").split())


def _fault(name: str) -> str:
    """Why a name is refused, in a sentence; empty if it is not."""
    if not 1 <= len(name) <= MOST_NAME:
        return f"a name must have 1 to {MOST_NAME} characters; this one has {len(name)}"
    for c in name:
        if not (_is_latin(c) or c in "0123456789" or c in MARKS):
            character = c if c.isascii() and c.isprintable() else f"the character U+{ord(c):04X}"
            return f"a name cannot contain {character}"
    return "" if any(map(str.isalnum, name)) else "a name needs a letter or a digit"


def _is_latin(c: str) -> bool:
    return c.isalpha() and (unicodedata.normalize("NFD", c)[0].isascii() or c.lower() in WITHOUT_ACCENT)
