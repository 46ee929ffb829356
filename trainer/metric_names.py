"""Derives a metric's better direction from its name, for logs (`analysis.imports`) and commands (`trainer.commands`)."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from functools import cache, lru_cache
from pathlib import Path

_NEGATIVE = ("neg", "negative", "minus")
_QUANTITIES = ("bits", "size", "bytes")  # before "rate" these are a unit and do not turn the direction around
_JOINT = re.compile(r"(?<=[a-z]{2})(?=[A-Z])|(?<=[A-Za-z]{3})(?=\d)")  # splits valLoss, map50, but not mAP, f1
_CLAUSE = re.compile(r"_(per|to|at|of|for|until)_")
_LEAST = 4  # letters; a word of this length is also recognised at the end of a longer one


def plain_name(cell: str) -> str:
    """A name in the form of the tables: lower case, with ``_`` for everything but letters and digits."""
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
    """(the better direction of a metric of this name or None, whether that is certain)."""
    return _direction(plain_name(name).split("_"), loose=False)


@lru_cache(maxsize=4096)
def loose_direction(name: str) -> str | None:
    """The better direction of a number that a program prints, also for costs, amounts, rates and compounds.

    None also if the words of the name contradict each other (``acc_time``), to avoid a task with the wrong direction.
    """
    if re.search(r"\w/(?:s|sec|second|min|h|hour)$", name.strip(), re.IGNORECASE):
        return "higher"  # a rate
    words = plain_name(_JOINT.sub("_", name))
    head, clause, _ = (*_CLAUSE.split(words, maxsplit=1), "", "")[:3]
    certain = {way for word in head.split("_") for way, clear in [_ways(True).get(word, ("", False))] if clear}
    if len(certain) > 1 and not words.endswith("_rate"):
        return None
    return _direction(head.split("_"), loose=True)[0] or ("higher" if clause == "per" else None)


def _direction(parts: Sequence[str], loose: bool) -> tuple[str | None, bool]:
    ways = _ways(loose)
    for end in range(len(parts), 0, -1):  # the last word of a name matters most: val_loss, error_rate, tok_per_sec
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
    """The direction after words that reverse it, as in ``error_rate`` and ``neg_loss``."""
    last = before[-1] if before else ""
    if way == "higher" and last not in _QUANTITIES and _ways(False).get(last) == ("lower", True):
        return "lower"
    if last in _NEGATIVE:
        return "higher" if way == "lower" else "lower"
    return way
