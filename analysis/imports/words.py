"""Look-ups of the words in the .toml files: statuses, columns, directions, re-runs, categories."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from trainer.values.metric_names import plain_name

_MARKS = re.compile(r"[*_`\"'()\[\]{}:;,.!?~|]+")
_OTHER = "other"
_NEGATIONS = ("not", "never", "no", "un", "non", "cannot", "almost", "nearly")
_UNDONE = re.compile(  # kept, then undone
    r"\b(?:(?:discard|revert|reject)(?:ed)?|abandoned|withdrawn|und(?:o|one|id)|roll(?:ed)?[ -]?back|"
    r"back(?:ed)?[ -]?out|(?:later|then|but|was|since) (?:dropped|removed)|(?:dropped|removed)(?=\W*$))\b"
)
_NOT_UNDONE = re.compile(  # what was not, or something else
    r"(?:\b(?:not|never|without)|n['’]t) (?:yet |been |be |to be )*\w+|"
    r"\b(?:previous|prior|earlier|last|other) (?:change|edit|experiment|run|commit|attempt|idea|try|one)s?\b[^,;:.]*"
)
_NEGATED = re.compile(r"(?:n['’]t|^(?:don|won|did|does|can|should|could|would)t)$")


class StatusMeaning(NamedTuple):
    """The meaning of a status word: (status, decision) in terms of the view `experiments`; None: unknown."""

    status: str | None
    decision: str | None


_MEANINGS = {
    "keep": StatusMeaning("ok", "keep"),
    "discard": StatusMeaning("ok", "discard"),
    "crash": StatusMeaning("crash", "discard"),
    "oom": StatusMeaning("oom", "discard"),
    "timeout": StatusMeaning("timeout", "discard"),
    "invalid": StatusMeaning("invalid", "discard"),
    "baseline": StatusMeaning("ok", "baseline"),
    "open": StatusMeaning(None, None),
}


@cache
def tables(name: str = "words") -> dict[str, Any]:
    """The content of one of the .toml files."""
    return tomllib.loads((Path(__file__).parent / f"{name}.toml").read_text(encoding="utf-8"))


@cache
def roles() -> Mapping[str, tuple[str, int]]:
    """Column name → (role, rank in the role's list: the first names are better)."""
    columns: dict[str, list[str]] = tables()["columns"]
    return {name: (role, rank) for role, names in reversed(columns.items()) for rank, name in enumerate(names)}


@cache
def _statuses() -> Mapping[str, StatusMeaning]:
    return {word: _MEANINGS[kind] for kind, words in tables()["status"].items() for word in words}


@lru_cache(maxsize=1 << 14)
def meaning(cell: str) -> StatusMeaning | None:
    """The meaning of a status cell, in any notation; None if it is not a known status."""
    known = _statuses()
    text = cell.strip().lower()
    if text in known or not text:
        return known.get(text)
    for candidate in (text.replace(" ", "_").replace("-", "_"), _MARKS.sub(" ", text).strip()):
        if candidate in known:
            return known[candidate]
    if len(text) > 80:  # no status is as long as that
        return None
    if not text[:1].isascii():  # no blanks between words there
        return known.get(text[:2]) or known.get(text[:1])
    words = [word for word in re.split(r"[^\w'’]+|_", text) if word]
    if not words or words[0] in _NEGATIONS or _NEGATED.search(words[0]):
        return None
    said = next((known[word] for word in words[:2] if word in known), None)
    undone = said == _MEANINGS["keep"] and _UNDONE.search(_NOT_UNDONE.sub(" ", text.replace("_", " ")))
    return None if undone else said


FAILED = ("crash", "oom", "timeout", "invalid")


def failure(cell: str) -> StatusMeaning | None:
    """The failure that a cell names in place of a measurement (``DIVERGED``, ``OOM``, ``NaN``); None without one."""
    said = meaning(cell)
    return said if said is not None and said.status in FAILED else None


@cache
def missing_words() -> frozenset[str]:
    return frozenset(tables()["missing"]["words"])


@cache
def missing_numbers() -> frozenset[float]:
    return frozenset(tables()["missing"]["numbers"])


def said_direction(cell: str) -> str | None:
    """``lower`` or ``higher``, from a cell of a direction column."""
    words: dict[str, list[str]] = tables()["direction"]
    text = plain_name(cell) or cell.strip()
    return next((way for way, names in words.items() if text in names), None)


def held_out(name: str) -> bool | None:
    """True for a metric of held-out data, False for one of training data, None if the name does not say."""
    parts = set(plain_name(name).split("_"))
    data = tables()["data"]
    if parts & set(data["held_out"]):
        return True
    return False if parts & set(data["training"]) else None


@cache
def rerun_patterns() -> Mapping[str, re.Pattern[str]]:
    return {name: re.compile(pattern, re.IGNORECASE) for name, pattern in tables()["rerun"].items()}


@cache
def _category_pattern(group: str) -> tuple[re.Pattern[str], Mapping[str, str]]:
    groups = tables("categories")[group]
    known: dict[str, str] = {word: name for name, words in reversed(groups.items()) for word in words}
    stems = sorted((w[:-1] for w in known if w.endswith("*")), key=len, reverse=True)
    whole = sorted((w for w in known if not w.endswith("*")), key=len, reverse=True)
    either, stem = ("|".join(map(re.escape, words)) for words in (whole, stems))
    parts = rf"(?:{either})(?![a-z0-9])|(?:{stem})"
    return re.compile(rf"(?<![a-z0-9_])(?:{parts})"), {w.rstrip("*"): c for w, c in known.items()}


def category(description: str) -> str:
    """The category of a description: its first keyword decides; ``other`` without one."""
    text = description[:400].lower()
    for group in ("categories", "weak"):
        pattern, known = _category_pattern(group)
        match = pattern.search(text)
        if match is not None:
            return known[match[0]]
    return _OTHER
