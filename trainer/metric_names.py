"""Which direction of a metric is better, by its name: for logs (`analysis.imports`) and repositories (`foreign`)."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from functools import cache, lru_cache
from pathlib import Path

_NEGATIVE = ("neg", "negative", "minus")
_QUANTITIES = ("bits", "size", "bytes")  # before "rate" they are what is counted, and no fault
_JOINT = re.compile(r"(?<=[a-z]{2})(?=[A-Z])|(?<=[A-Za-z]{3})(?=\d)")  # of valLoss, map50; not of mAP, f1
_CLAUSE = re.compile(r"_(per|to|at|of|for|until)_")
_LEAST = 4  # letters of a word that counts at the end of a longer one


def plain_name(cell: str) -> str:
    """A name as the tables have it: lower case, ``_`` for what is no letter or digit."""
    return re.sub(r"\W+", "_", cell.strip().lower().lstrip("\ufeff#")).strip("_")


@cache
def _table() -> Mapping[str, list[str]]:
    table: Mapping[str, list[str]] = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
    return table


@cache
def _ways(loose: bool) -> Mapping[str, tuple[str, bool]]:
    """Word → (direction, whether it is certain)."""
    lists = {"amount": "higher", "cost": "lower"} if loose else {}
    lists |= {"weak": "higher", "higher": "higher", "lower": "lower"}
    return {word: (way, group != "weak") for group, way in lists.items() for word in _table()[group]}


@lru_cache(maxsize=4096)
def named_direction(name: str) -> tuple[str | None, bool]:
    """(the better direction of a metric of this name, whether the name leaves no doubt)."""
    return _direction(plain_name(name).split("_"), loose=False)


@lru_cache(maxsize=4096)
def loose_direction(name: str) -> str | None:
    """The better direction of what a program prints: costs, amounts, rates and compounds count, too.

    None also where its words speak for both (``acc_time``): a task that is made from it would go the wrong way.
    """
    words = plain_name(_JOINT.sub("_", name))
    head, clause, _ = (*_CLAUSE.split(words, maxsplit=1), "", "")[:3]
    certain = {way for word in head.split("_") for way, clear in [_ways(True).get(word, ("", False))] if clear}
    if len(certain) > 1 and not words.endswith("_rate"):
        return None
    return _direction(head.split("_"), loose=True)[0] or ("higher" if clause == "per" else None)


def _direction(parts: Sequence[str], loose: bool) -> tuple[str | None, bool]:
    ways = _ways(loose)
    for end in range(len(parts), 0, -1):  # the last word of a name says most: val_loss, error_rate, tok_per_sec
        known = {"_".join(parts[start:end]): start for start in range(max(0, end - 3), end)}
        if loose:  # runtime, gflops
            word = parts[end - 1]
            known |= {word[cut:]: end - 1 for cut in range(1, len(word) - _LEAST + 1) if word[cut:] not in known}
        for text, start in known.items():
            if text in ways:
                way, clear = ways[text]
                return (_turned(way, parts[:start]) if clear else way), clear
    return None, False


def _turned(way: str, before: Sequence[str]) -> str:
    """``error_rate`` and ``neg_loss``: a word before turns the last one around."""
    last = before[-1] if before else ""
    if way == "higher" and last not in _QUANTITIES and _ways(False).get(last) == ("lower", True):
        return "lower"
    if last in _NEGATIVE:
        return "higher" if way == "lower" else "lower"
    return way
