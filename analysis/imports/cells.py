"""Cells of a log: numbers in their usual notations, missing values, hashes of commits."""

from __future__ import annotations

import math
import re
from decimal import Decimal

from analysis.imports.words import missing_numbers, missing_words

_NUMBER = re.compile(
    r"^[~≈=<>*`\s$€£]*([-+]?(?:(?:[1-9]\d{0,2}(?:,\d{3})+|\d+)\.?\d*|\.\d+)(?:e[-+]?\d+)?)"
    r"\s*(?:%|[*`]+)?(?:\s*(?:±|\+/-|\+-).*)?$",
    re.I,
)
_HASH = re.compile(r"^(?=.*\d)[0-9a-f]{6,40}$")  # with a digit: "deadbeef" may be a word
FAR = 50.0  # times the median of all values: sentinels are beyond that


def number(cell: str) -> float | None:
    """The number in a cell, None without one: ``0.98``, ``95.2%`` (95.2), ``~1,234``, ``0.98 ± 0.01``. A decimal comma
    (``0,98``) is not read, because it could also group digits."""
    try:
        value = float(cell)
    except ValueError:
        match = _NUMBER.match(cell.strip()) if len(cell) < 80 else None
        if match is None:
            return None
        value = float(match[1].replace(",", ""))
    return value if math.isfinite(value) else None


def is_decimal_comma(cell: str) -> bool:
    """Whether the comma in a cell can only be a decimal one: ``0,987``, ``12,34``."""
    return "," in cell and number(cell) is None and number(cell.replace(",", ".")) is not None


def last_digit(value: float) -> float:
    """The value of one unit of a number's last digit that is not 0, at most 1: zeros may have been written or not."""
    exponent = Decimal(repr(value)).normalize().as_tuple().exponent
    return min(1.0, 10.0**exponent) if isinstance(exponent, int) else 1.0


def is_missing(cell: str) -> bool:
    """Whether a cell marks a missing value."""
    text = cell.strip().lower()
    return text in missing_words() or text in ("infinity", "-infinity")


def is_hash(cell: str) -> bool:
    """Whether a cell can be the hash of a commit, whole or cut short."""
    return _HASH.match(cell.strip().lower()) is not None


def sentinels(values: list[float], failed: list[float], *, positive: bool) -> set[float]:
    """The values of a column that mark a missing value, given those of rows that ran and those that failed.

    0 is one if failed rows have it, or if every other value is positive and lower is better (``positive``): a loss of
    exactly 0 is not a measurement. -999 and similar numbers are if all other values are far from them.
    """
    out: set[float] = {0.0} if 0.0 in failed else set()
    real = [abs(v) for v in values if v != 0.0 and v not in missing_numbers()]
    if positive and 0.0 in values and real and min(v for v in values if v != 0.0) > 0.0:
        out.add(0.0)
    middle = sorted(real)[len(real) // 2] if real else 0.0
    return out | {v for v in (*values, *failed) if v in missing_numbers() and abs(v) > FAR * middle}
