"""The meaning of single cells of a log: numbers, missing values, statuses, directions, and names of columns."""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Mapping
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from programs.common import bounded
from trainer.values.metric_names import plain_name

FAILED = ("crash", "oom", "timeout", "invalid")
UNMEASURED = ("pruned", "pending")
WEAK = frozenset({"pending", "skip", "ran"})  # "keep, running EMA", "discard (skipped)"
DECIDED = ("keep", "discard")
WORDS = 3  # of a status, the first ones, are looked up
LONGEST = 80  # characters of a number
_MARKS = r"~*`_\s\u2600-\u2793\u2b50\u2b55\ufe0f\u200d\U0001f300-\U0001faff"  # emphasis of markdown, emojis
_NUMBER = re.compile(
    rf"[≈$€£{_MARKS}]*+([-+]?(?:\d++(?:,\d++)*+(?:\.\d*+)?|\.\d++)(?:e[-+]?\d++)?)[%{_MARKS}]*+(?:(?:±|\+/?-).*)?", re.I
)
_NEGATED = re.compile(r"\b(?:not|never|cannot|un|non)\b|n['’]t\b")


@cache
def aliases() -> Mapping[str, dict[str, Any]]:
    return tomllib.loads(Path(__file__).with_name("aliases.toml").read_text(encoding="utf-8"))


@cache
def _roles() -> Mapping[str, str]:
    return {name: role for role, names in aliases()["columns"].items() for name in names}


@cache
def _statuses() -> Mapping[str, str]:
    return {word: kind for kind, words in aliases()["status"].items() for word in words}


def role(name: str) -> str | None:
    """The role of a column of this plain name; None for any other, which may be the metric."""
    return _roles().get(name) or ("config" if name.split("_")[0] in aliases()["settings"]["prefixes"] else None)


@cache
def _missing() -> frozenset[str]:
    return frozenset(aliases()["missing"]["words"])


def is_missing(cell: str) -> bool:
    return cell.lower() in _missing()


def number(cell: str) -> float | None:
    """The number in a cell, None without one: ``0.98``, ``95.2%`` (95.2), ``~1,234``, ``0.98 ± 0.01``."""
    match = _NUMBER.fullmatch(cell) if len(cell) < LONGEST else None
    value = float(match[1].replace(",", "")) if match else math.inf
    return value if abs(value) < bounded.LARGEST else None


@lru_cache(maxsize=1 << 14)
def meaning(cell: str) -> str | None:
    """What a cell says of its row: a key of [status] in aliases.toml; None if it says nothing, or two things."""
    text = cell.lower().strip()
    if plain_name(text) in _statuses() or text in _statuses():
        return _statuses().get(text) or _statuses()[plain_name(text)]
    words = [word for word in re.findall(r"[^\W_]+|[^\w\s]", text) if word.isalnum() or word in _statuses()]
    meanings = {_statuses()[word] for word in words[:WORDS] if word in _statuses()}
    return None if _NEGATED.search(text) else settled(meanings)


def settled(said: set[str]) -> str | None:
    """One meaning of several: a failure goes before all others, a baseline before being kept, any before WEAK ones."""
    for kind in (*FAILED, "pruned", "baseline"):
        if kind in said:
            return kind
    said = said - WEAK or said
    return said.pop() if len(said) == 1 else None


def directions(text: str, words: bool = False) -> set[str]:
    """The directions that a text states; ``words``: it is about nothing else, so that a single word is enough."""
    text, table = text.lower(), aliases()["direction"]
    ways = {way for way in ("lower", "higher") if any(phrase in text for phrase in table[way])}
    if words and not ways:
        ways = {way for way in ("lower", "higher") if plain_name(text).split("_")[0] in table[f"{way}_word"]}
    return ways
