"""Scores a third-party script by the number that it prints. The number is not checked, so rows are self-reported."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from programs.common.bounded import LARGEST, MOST_DIGITS, json_value
from trainer.scoring import InvalidPredictions, Score, ScoreSettings
from trainer.values.constants import is_number

if TYPE_CHECKING:
    from pydantic import JsonValue

    from trainer.scoring.referee import Referee

_LINE = 400  # characters; longer lines are ignored
_WORDS = dict.fromkeys(("true", "yes", "ok", "pass", "passed"), 1.0) | dict.fromkeys(
    ("false", "no", "fail", "failed"), 0.0
)
_GROUPED = re.compile(r"[-+]?[1-9]\d{0,2}(?:,\d{3})+(?:\.\d*)?")
_NUMBER = re.compile(r"[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d{1,3})?")


class Printed:
    """The metric is the group of ``[score] pattern`` in the last line of the log that matches. Always self-reported."""

    per_position = False
    needs_checkpoint = False

    def __init__(self, scoring: ScoreSettings) -> None:
        self.pattern: str = scoring["pattern"]
        self.key: str = scoring.get("key", "")

    def score(self, referee: Referee) -> Score:
        return Score(self.metric(referee.log), "self-reported")

    def metric(self, text: str) -> float:
        """The metric in a log, or in a file that a command wrote. InvalidPredictions if there is none."""
        return number_in(text, self.pattern, self.key)


def number_in(text: str, pattern: str, key: str, *, words: bool = False) -> float:
    """The number at ``key`` of a JSON text, or without one the group of ``pattern`` in the last line that matches.
    ``words``: true, yes, ok and passed count as 1, their opposites as 0. InvalidPredictions if there is none.
    """
    if key:
        return _in_json(text, key, words)
    lines = [line for line in text.splitlines() if len(line) <= _LINE]
    last = next((match for line in reversed(lines) if (match := re.search(pattern, line))), None)
    if last is None:
        raise InvalidPredictions(f"no line of the output matches {pattern!r}")
    printed = (last[1] or "").strip()
    return _WORDS[printed.lower()] if words and printed.lower() in _WORDS else _number(printed)


def _number(text: str) -> float:
    if _GROUPED.fullmatch(text):
        text = text.replace(",", "")
    if len(text) > MOST_DIGITS or not _NUMBER.fullmatch(text) or not abs(metric := float(text)) < LARGEST:
        size = f" of at most {MOST_DIGITS} characters" if len(text) > MOST_DIGITS else ""
        raise InvalidPredictions(f"the printed metric is not a finite number{size}: {text[:MOST_DIGITS]!r}")
    return metric


def _in_json(text: str, key: str, words: bool) -> float:
    """The number at ``key`` of a JSON text, or of its last line that is valid JSON.

    A key is a path of names and indices joined by dots, or one name that occurs once at any depth.
    """
    value = whole = _last_json(text)
    if "." not in key and not (isinstance(whole, dict) and key in whole):
        values = list(_values_of(whole, key))
        if len(values) > 1:
            raise InvalidPredictions(f"the result has {len(values)} values of {key!r}; give the full path, a.b.{key}")
        value = {key: values[0]} if values else None
    for part in key.split("."):
        if isinstance(value, list) and part.isdigit() and int(part) < len(value):
            value = value[int(part)]
        elif isinstance(value, dict) and part in value:
            value = value[part]
        else:
            raise InvalidPredictions(f"the result has no {key!r}")
    if words and str(value).lower() in _WORDS:
        return _WORDS[str(value).lower()]
    if not is_number(value):
        raise InvalidPredictions(f"{key!r} of the result is not a number")
    return _number(repr(float(value)) if abs(value) < LARGEST else "too large")


def _values_of(value: JsonValue, key: str) -> Iterator[JsonValue]:
    """The values of a key at any depth."""
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            if key in item:
                yield item[key]
            waiting += item.values()
        elif isinstance(item, list):
            waiting += item


def _last_json(text: str) -> JsonValue:
    """The JSON value of a text, or of its last line that is valid JSON."""
    for part in (text, *reversed([line for line in text.splitlines() if line.lstrip().startswith(("{", "["))])):
        try:
            value: JsonValue = json_value(part, finite=False)
            return value
        except ValueError:
            continue
    raise InvalidPredictions("the result is not valid JSON")


make = Printed
