"""Checks names of entrants and volunteers: readable, and not confusable with another's."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import cache, lru_cache

from programs.common.errors import UsageError

MOST_NAME = 40
MOST_MARKS = 2  # combining marks on one letter, those of é included
RESERVED = ("host", "stock", "admin", "stock (control)")
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
MORE = dict(zip("пημχζεκкĸм", "nnuxzekkkm", strict=True))  # beside Unicode's
SAME = str.maketrans({"0": "o", "1": "l", "i": "l", "|": "l", "-": " ", "_": " ", ".": " ", "'": " "})
_SMALL_CAPITAL = re.compile(r"LATIN LETTER SMALL CAPITAL (\w)")
MODIFIER = "MODIFIER"  # first word of the names of letters that are small marks
OF_ANY = {"FEMININE", "MASCULINE", "IDEOGRAPHIC", MODIFIER}  # letters of no script


def checked_name(name: str, starts: Sequence[str] = (FORMER,)) -> str:
    """The name in Unicode normal form NFKC: letters, digits, spaces and a few marks. Raises UsageError, also for a name
    that looks like a reserved one or begins like one of ``starts``."""
    name = " ".join(unicodedata.normalize("NFKC", name).split())
    if fault := _fault(name):
        raise UsageError(fault, hint="letters, digits, spaces, - _ . and '")
    looks = skeletons(name)
    begins = tuple(start for text in starts for start in skeletons(text))
    if any(looks & skeletons(text) for text in RESERVED) or any(look.startswith(begins) for look in looks):
        raise UsageError(f"the name {name} is reserved", hint="choose another")
    scripts = {_words(c)[0] for c in name if c.isalpha()} - OF_ANY
    if len(scripts) > 1 and not any(scripts <= together for together in TOGETHER):
        mixed = " and ".join(script.title() for script in sorted(scripts))
        raise UsageError(f"a name must use letters of one alphabet; this one has {mixed}", hint="some look alike")
    return name


@lru_cache(maxsize=20_000)
def skeletons(name: str) -> frozenset[str]:
    """What a name looks like, as it is, in small and in capital letters: two names that look alike share one.

    After Unicode TS 39: ignores case, marks between words, and differences between similar letters.
    """
    name = unicodedata.normalize("NFKC", name)
    return frozenset(map(_skeleton, (name, name.casefold(), name.upper())))


def _skeleton(text: str) -> str:
    shapes = "".join(map(_shape, unicodedata.normalize("NFD", text)))
    folded = unicodedata.normalize("NFC", shapes.casefold()).translate(SAME)
    letters = "".join(c for c in folded if not unicodedata.combining(c))  # loose marks; é is a letter of its own
    return " ".join(letters.replace("rn", "m").replace("vv", "w").split())


@cache
def _shape(letter: str) -> str:
    """The letters of the Latin alphabet that a letter looks like, else of another one; itself if it is like no other.

    A letter and those like it are a star in the table: the one in the middle has the longest list.
    """
    if letter.isascii():
        return letter
    if small := _SMALL_CAPITAL.fullmatch(" ".join(_words(letter))):
        return small[1].lower()
    if _words(letter)[0] == MODIFIER:
        return " "
    if letter in MORE:
        return MORE[letter]
    from confusable_homoglyphs.confusables import confusables_data as table

    like = [other["c"] for other in table.get(letter, ())]
    middle = max(like, key=lambda other: (len(table.get(other, ())), other.isascii()), default=letter)
    longer = len(table.get(middle, ())) - len(like)
    is_middle = longer < 0 or (longer == 0 and not middle.isascii() and middle >= letter)
    return letter if is_middle else "".join(map(_shape, middle))


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
        if ord(c) in UNSEEN or not (c.isalnum() or unicodedata.category(c) in ("Mn", "Mc") or c in MARKS):
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
