"""Checks entrants' names: readable, and not confusable with another entrant's."""

from __future__ import annotations

import unicodedata
from functools import lru_cache

from programs.errors import UsageError

MOST_NAME = 40
MOST_MARKS = 3  # combining marks in a row on one letter; some scripts need three
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
OF_ANY = {"FEMININE", "MASCULINE", "MODIFIER"}  # letters of no script
#: Confusable characters in lower case: those of Unicode TS 39 that a whole name can be made of.
LOOKS = str.maketrans({
    "а": "a", "в": "b", "с": "c", "ԁ": "d", "е": "e", "ё": "ë", "һ": "h", "н": "h", "і": "l", "ї": "ï", "ј": "j",
    "к": "k", "ӏ": "l", "м": "m", "о": "o", "р": "p", "ԛ": "q", "ѕ": "s", "т": "t", "у": "y", "ү": "y", "х": "x",
    "ѵ": "v", "ԝ": "w", "г": "r", "п": "n", "ь": "b", "з": "3",
    "α": "a", "β": "b", "γ": "y", "ε": "e", "ζ": "z", "η": "n", "ι": "l", "κ": "k", "μ": "u", "ν": "v", "ο": "o",
    "ρ": "p", "σ": "o", "τ": "t", "υ": "u", "χ": "x",
    "օ": "o", "հ": "h", "ս": "u", "ո": "n", "ց": "g", "զ": "q", "ա": "w", "ք": "p",
    "0": "o", "1": "l", "i": "l", "|": "l", "ı": "l", "ɩ": "l", "ɑ": "a", "ɡ": "g", "ʀ": "r", "ꜱ": "s", "ʟ": "l",
    "-": " ", "_": " ", ".": " ", "'": " ", "ʼ": " ",
})  # fmt: skip


def checked_name(name: str) -> str:
    """The name in Unicode normal form NFKC: letters, digits, spaces and a few marks. Raises UsageError."""
    name = " ".join(unicodedata.normalize("NFKC", name).split())
    if fault := _fault(name):
        raise UsageError(fault, hint="letters, digits, spaces, - _ . and '")
    if skeleton(name) in map(skeleton, RESERVED) or skeleton(name).startswith(skeleton(FORMER)):
        raise UsageError(f"the name {name} is reserved", hint="choose another")
    scripts = {unicodedata.name(c, "?").split()[0] for c in name if c.isalpha()} - OF_ANY
    if len(scripts) > 1 and not any(scripts <= together for together in TOGETHER):
        mixed = " and ".join(script.title() for script in sorted(scripts))
        raise UsageError(f"a name must use letters of one alphabet; this one has {mixed}", hint="some look alike")
    return name


@lru_cache(maxsize=20_000)
def skeleton(name: str) -> str:
    """The skeleton of a name: equal for two names that look alike.

    After Unicode TS 39: ignores case, marks between words, and differences between similar letters.
    """
    folded = unicodedata.normalize("NFKC", name).casefold().translate(LOOKS)
    folded = unicodedata.normalize("NFKC", folded)  # a mark may stand on a letter that was replaced
    return " ".join(folded.replace("rn", "m").replace("vv", "w").split())


def _fault(name: str) -> str:
    """Why a name cannot be read, in a sentence; empty if it can."""
    if not 1 <= len(name) <= MOST_NAME:
        return f"a name must have 1 to {MOST_NAME} characters; this one has {len(name)}"
    if unicodedata.combining(name[0]) or unicodedata.category(name[0]) == "Mn":
        return "a name cannot begin with a mark"
    row = 0
    for c in name:
        mark = unicodedata.category(c) == "Mn"
        row = row + 1 if mark else 0
        if ord(c) in UNSEEN or not (mark or c.isalnum() or unicodedata.category(c) == "Mc" or c in MARKS):
            shown = c if c.isascii() and c.isprintable() else f"the character U+{ord(c):04X}"
            return f"a name cannot contain {shown}"
        if row > MOST_MARKS:
            return f"a name may have at most {MOST_MARKS} marks on a letter"
    return "" if any(map(str.isalnum, name)) else "a name needs a letter or a digit"
