"""Other wordings of charter fields, as people write them in research programs; read only, never written.

They are in charter_wordings.toml. A wording counts only if it is the whole sentence, so that a condition or an
exception that it does not know is never lost: a sentence that is not read stays prose.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

LONGEST = 300  # characters of a sentence that can be a wording
_DIGITS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
_COUNTS = {word: str(number) for number, word in enumerate(_DIGITS, 1)} | {"fifteen": "15", "twenty": "20"}
_SLOT = re.compile(r"\{([a-z]+)\}")
_FILLED = ("n", "x", "times")  # parts that stand for a number
_MARKS = re.compile(r"[*`“”\"]|(?<!\w)_|_(?!\w)")
_PROCESS = re.compile(
    r"^(?:(?:only )?keep|discard|reject|ignore|revert|rotate|cycle|alternate|repeat|re-?run|confirm|average|"
    r"(?:never|do not) (?:try|run|train|repeat|keep|retry)) .*\b(?:change|idea|experiment|run|candidate|improvement|"
    r"gain|seed|categor|twice|again|edit|commit)"
    r"|^(?:after|when|if|once)\b.*\b(?:in a row|fail|improve|improved|stuck|discard|keep|kept)\b"
    r"|\b(?:in a row|consecutive)\b"
)
_OPENING = re.compile(r"^(?:(?:important|rule|note|remember|always|please)[:,]? )+")


class Wording(NamedTuple):
    """``sets``: field → value, or the number in the sentence (``@n``); ``why`` no field is set, where none can be."""

    pattern: re.Pattern[str]
    sets: Mapping[str, Any]
    why: str


@cache
def wordings() -> tuple[Wording, ...]:
    tables = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
    parts = {name: _joined(text) for name, text in tables["parts"].items()}
    known = [Wording(_pattern(one["reads"], parts), one["sets"], "") for one in tables["wording"]]
    return (*known, *(Wording(_pattern(one["reads"], parts), {}, one["why"]) for one in tables["no_field"]))


def read(sentence: str) -> Mapping[str, Any]:
    """The fields and values that a sentence sets; none unless all of it is a known wording."""
    wording = _find(_plain(sentence))
    return {field: _value(value, wording[1]) for field, value in wording[0].sets.items()} if wording else {}


def no_field(sentence: str) -> str:
    """Why a sentence about the process sets no field; empty if it is not known to be one."""
    wording = _find(_plain(sentence))
    return wording[0].why if wording else ""


def is_process(sentence: str) -> bool:
    """Whether a sentence has words of the process and an imperative or a condition, so that it may set a field."""
    return len(sentence) <= LONGEST and bool(_PROCESS.search(_plain(sentence)))


def _find(text: str) -> tuple[Wording, re.Match[str]] | None:
    if len(text) > LONGEST:
        return None
    matches = ((wording, wording.pattern.fullmatch(text)) for wording in wordings())
    return next(((wording, match) for wording, match in matches if match), None)


def _joined(text: str) -> str:
    return re.sub(r"\n\s*", "", text.lstrip())


def _pattern(text: str, parts: Mapping[str, str]) -> re.Pattern[str]:
    """The wording with its parts written out; every number in it is a group of its own (``n1``, ``n2``, …)."""
    text = _joined(text)
    while any(mark[1] not in _FILLED for mark in _SLOT.finditer(text)):
        text = _SLOT.sub(lambda mark: mark[0] if mark[1] in _FILLED else parts[mark[1]], text)
    at = 0

    def number(mark: re.Match[str]) -> str:
        nonlocal at
        at += 1
        return f"(?P<{mark[1]}{at}>{parts[mark[1]]})"

    return re.compile(_SLOT.sub(number, text))


def _value(value: Any, match: re.Match[str]) -> Any:
    """A value as it is, or the number that the sentence has for it."""
    if not isinstance(value, str) or not value.startswith("@"):
        return value
    name, less = value[1:].removesuffix("%").removesuffix("-1"), value.endswith("-1")
    said = next((text for key, text in match.groupdict().items() if key.rstrip("0123456789") == name and text), "1")
    if name == "x":
        return float(said) / 100 if value.endswith("%") else float(said)
    return (2 if said == "twice" else int(said.split()[0])) - less


def _plain(sentence: str) -> str:
    """A sentence in lower case without marks, its small numbers as digits."""
    text = _MARKS.sub("", " ".join(sentence.split())).replace("’", "'").lower()
    text = _OPENING.sub("", text).rstrip(" .!;:")
    return re.sub(r"[a-z]+", lambda word: _COUNTS.get(word[0], word[0]), text)
