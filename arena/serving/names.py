"""Checks names of entrants and volunteers: readable, and in letters of one script."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from programs.common.errors import UsageError

MOST_NAME = 40
MOST_MARKS = 2  # combining marks on one letter, those of é included
RESERVED = ("host", "stock", "admin")
FORMER = "former entrant"  # begins the names of removed accounts
MARKS = " -_.'"
#: Default_Ignorable_Code_Point of Unicode that category and isalnum() let pass: invisible letters and marks.
UNSEEN = frozenset((0x34F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x180B, 0x180C, 0x180D, 0x180F, 0x3164, 0xFFA0,
                    *range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0)))  # fmt: skip
#: Scripts that are written together (Unicode TS 39, 5.2: highly restrictive), by the first word of a letter's name.
TOGETHER = (
    {"LATIN", "CJK", "HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA"},
    {"LATIN", "CJK", "BOPOMOFO"},
    {"LATIN", "CJK", "HANGUL"},
)
SAME = str.maketrans({"0": "o", "1": "l", "i": "l", "-": " ", "_": " ", ".": " ", "'": " "})
MODIFIER = "MODIFIER"  # first word of the names of letters that are small marks
OF_ANY = {"FEMININE", "MASCULINE", "IDEOGRAPHIC", MODIFIER}  # letters of no script


def checked_name(name: str, starts: Sequence[str] = (FORMER,)) -> str:
    """The name in Unicode normal form NFKC: letters, digits, spaces and a few marks. Raises UsageError, also for a name
    like a reserved one, or that begins like one of ``starts``."""
    name = " ".join(unicodedata.normalize("NFKC", name).split())
    if fault := _fault(name):
        raise UsageError(fault, hint="letters, digits, spaces, - _ . and '")
    key = name_key(name)
    if key in map(name_key, RESERVED) or key.startswith(tuple(map(name_key, starts))):
        raise UsageError(f"the name {name} is reserved", hint="choose another")
    scripts = {_words(c)[0] for c in name if c.isalpha()} - OF_ANY
    if len(scripts) > 1 and not any(scripts <= together for together in TOGETHER):
        mixed = " and ".join(script.title() for script in sorted(scripts))
        raise UsageError(f"a name must use letters of one alphabet; this one has {mixed}", hint="some look alike")
    return name


def name_key(name: str) -> str:
    """What two names share that differ in case, marks between words, or 0 for O, 1 or I for L, rn for m, vv for w."""
    plain = unicodedata.normalize("NFKC", name).casefold().translate(SAME)
    return " ".join(plain.replace("rn", "m").replace("vv", "w").split())


def _words(letter: str) -> list[str]:
    """The words of a character's name in Unicode, of which the first is its script."""
    return unicodedata.name(letter, "?").split()


def _fault(name: str) -> str:
    """Why a name cannot be read, in a sentence; empty if it can."""
    if not 1 <= len(name) <= MOST_NAME:
        return f"a name must have 1 to {MOST_NAME} characters; this one has {len(name)}"
    if unicodedata.combining(name[0]) or unicodedata.category(name[0]) == "Mn":
        return "a name cannot begin with a mark"
    for before, c, after in zip(f" {name}", name, f"{name[1:]} ", strict=False):
        is_small_capital = "SMALL CAPITAL" in unicodedata.name(c, "")  # it looks like an ordinary one
        if (
            is_small_capital
            or ord(c) in UNSEEN
            or not (c.isalnum() or unicodedata.category(c) in ("Mn", "Mc") or c in MARKS)
        ):
            shown = c if c.isascii() and c.isprintable() else f"the character U+{ord(c):04X}"
            return f"a name cannot contain {shown}"
        if _words(c)[0] == MODIFIER and not (before.isalpha() and after.isalpha()):
            return f"a name cannot contain the character U+{ord(c):04X}, except between letters"
    marks = 0
    for c in unicodedata.normalize("NFD", name):
        marks = marks + 1 if unicodedata.category(c) == "Mn" else 0
        if marks > MOST_MARKS:
            return f"a name may have at most {MOST_MARKS} marks on a letter"
    return "" if any(map(str.isalnum, name)) else "a name needs a letter or a digit"
