"""How the pages write values of a study."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from analysis.wording import brief, minus, span

LONG = 90  # letters of a value that a table shows at once
DIGITS = 5


@dataclass(frozen=True)
class ShownValue:
    """A value in a table: ``text`` as shown, ``whole`` as it is where that is longer, ``number``: to the right."""

    text: str
    whole: str = ""
    number: bool = False


def cell(value: Any) -> ShownValue:
    """Numbers are rounded, long texts cut."""
    if value is None:
        return ShownValue("–")
    if isinstance(value, bool):
        return ShownValue(str(value).lower())
    if isinstance(value, int):
        return ShownValue(minus(str(value)), number=True)
    if isinstance(value, float):
        text, whole = brief(value, DIGITS), str(value)
        return ShownValue(text, whole if whole != text else "", number=True)
    text = json.dumps(value, ensure_ascii=False, default=str) if isinstance(value, list | dict) else str(value)
    return ShownValue(text) if len(text) <= LONG else ShownValue(f"{text[: LONG - 1]}…", text)


def interval(low: float | None, high: float | None, runs: int) -> str:
    """``0.55 to 0.70``, or why there is none."""
    if low is None or high is None:
        return "none: one run" if runs == 1 else "none"
    return "none: equal gains" if low == high else span(low, high)
