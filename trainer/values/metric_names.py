"""Derives a metric's better direction from its name, for logs (`analysis.imports`) and for `trainer.commands`."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from functools import cache, lru_cache
from pathlib import Path

_NEGATIVE = ("neg", "negative", "minus")
_QUANTITIES = ("bits", "size", "bytes")  # before "rate" these are a unit and do not turn the direction around
_JOINT = re.compile(r"(?<=[a-z]{2})(?=[A-Z])|(?<=[A-Za-z]{3})(?=\d)")  # splits valLoss, map50, but not mAP, f1
_RATE = re.compile(r"\w/(?:s|sec|second|min|h|hour)$", re.IGNORECASE)


def plain_name(cell: str) -> str:
    """A name in the form of the tables: lower case, with ``_`` for everything but letters and digits."""
    return re.sub(r"\W+", "_", cell.strip().lower().lstrip("\ufeff#")).strip("_")


@cache
def _table() -> Mapping[str, list[str]]:
    table: Mapping[str, list[str]] = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
    return table


@cache
def _ways() -> Mapping[str, tuple[str, bool]]:
    """Word → (direction, whether it is certain)."""
    groups = {"weak": "higher", "higher": "higher", "lower": "lower"}
    return {word: (way, group != "weak") for group, way in groups.items() for word in _table()[group]}


def _words(name: str) -> list[str]:
    return plain_name(_JOINT.sub("_", name)).split("_")


@lru_cache(maxsize=4096)
def named_direction(name: str) -> tuple[str | None, bool]:
    """(the better direction of a metric of this name or None, whether that is certain)."""
    parts, ways = plain_name(name).split("_"), _ways()
    for end in range(len(parts), 0, -1):  # the last word of a name matters most: val_loss, error_rate, tok_per_sec
        for start in range(max(0, end - 3), end):
            if (text := "_".join(parts[start:end])) in ways:
                way, clear = ways[text]
                return (_turned(way, parts[:start]) if clear else way), clear
    return None, False


def certain_direction(name: str) -> str | None:
    """The better direction of a number that a program prints, where its whole name, but for words such as ``val`` and
    ``mean``, is in a short list; None for every other name."""
    table, words = _table(), _words(name)
    while len(words) > 1 and {words[0], words[-1]} & {*table["neutral"]}:
        words = words[1:] if words[0] in table["neutral"] else words[:-1]
    return next((way for way in ("lower", "higher") if "_".join(words) in table[f"certain_{way}"]), None)


def is_timed(name: str) -> bool:
    """Whether a metric of this name is a time, or a rate per second."""
    words = _words(name)
    ends = {"_".join(words[start:]) for start in range(len(words))}
    return bool(_RATE.search(name.strip()) or ends & {*_table()["timed"]})


def may_be_share(name: str) -> bool:
    """Whether a metric of this name may be a share of rows: it has a word for one, or no word of the tables."""
    words = _words(name)
    parts = {"_".join(words[start:end]) for end in range(len(words) + 1) for start in range(max(0, end - 3), end)}
    table = _table()
    known = {*table["lower"], *table["higher"], *table["timed"], *table["cost"], *table["amount"]}
    return bool(parts & {*table["share"]}) or not parts & known


def _turned(way: str, before: Sequence[str]) -> str:
    """The direction after words that reverse it, as in ``error_rate`` and ``neg_loss``."""
    last = before[-1] if before else ""
    if way == "higher" and last not in _QUANTITIES and _ways().get(last) == ("lower", True):
        return "lower"
    if last in _NEGATIVE:
        return "higher" if way == "lower" else "lower"
    return way
