"""The name that an entrant takes: one that can be read, and that nobody takes for another's."""

from __future__ import annotations

import unicodedata
from functools import lru_cache

from programs.errors import UsageError

MOST_NAME = 40
MOST_MARKS = 3  # in a row over or under one letter; the scripts that stack most need so many
RESERVED = ("host", "stock", "admin", "stock (control)")
MARKS = " -_.'"
#: Default_Ignorable_Code_Point of Unicode that category and isalnum() let pass: letters and marks that leave no trace.
UNSEEN = frozenset((0x34F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x180B, 0x180C, 0x180D, 0x180F, 0x3164, 0xFFA0,
                    *range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0)))  # fmt: skip
#: Scripts that are written together (Unicode TS 39, 5.2: highly restrictive), by the first word of a letter's name.
TOGETHER = ({"LATIN", "CJK", "HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA"}, {"LATIN", "CJK", "BOPOMOFO"},
            {"LATIN", "CJK", "HANGUL"})  # fmt: skip
#: What looks like what, both in lower case: of Unicode TS 39's confusables those that a whole name can be made of.
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
    """The name in the form that Unicode gives it: letters, digits, blanks and a few marks. Raises UsageError."""
    name = " ".join(unicodedata.normalize("NFKC", name).split())
    if not 1 <= len(name) <= MOST_NAME or not _plain(name) or look(name) in map(look, RESERVED):
        hint = "letters, digits, blanks, - _ . and '"
        raise UsageError(f"a name has 1 to {MOST_NAME} characters that can be read", hint=hint)
    if not _one_writing(name):
        hint = "letters of one alphabet, so that nobody is taken for somebody else"
        raise UsageError("a name is written in one alphabet", hint=hint)
    return name


@lru_cache(maxsize=20_000)
def look(name: str) -> str:
    """What a reader sees of a name: equal for two names that can be taken for one another.

    After the skeleton of Unicode TS 39: case, marks between words, and letters that look alike count for nothing.
    """
    folded = unicodedata.normalize("NFKC", name).casefold().translate(LOOKS)
    return " ".join(folded.replace("rn", "m").replace("vv", "w").split())


def _plain(name: str) -> bool:
    if unicodedata.combining(name[0]) or unicodedata.category(name[0]) == "Mn" or not any(map(str.isalnum, name)):
        return False
    row = 0
    for c in name:
        mark = unicodedata.category(c) == "Mn"
        row = row + 1 if mark else 0
        known = mark or c.isalnum() or unicodedata.category(c) == "Mc" or c in MARKS
        if not known or ord(c) in UNSEEN or row > MOST_MARKS:
            return False
    return True


def _one_writing(name: str) -> bool:
    """Whether its letters are of one script, or of scripts that are written together."""
    scripts_used = {unicodedata.name(c, "?").split()[0] for c in name if c.isalpha()} - {
        "FEMININE",
        "MASCULINE",
        "MODIFIER",
    }
    return len(scripts_used) <= 1 or any(scripts_used <= scripts for scripts in TOGETHER)
