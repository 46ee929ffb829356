"""Formats figures for readers: as many digits as the error justifies, times in minutes, shares in percent.

Texts have a true minus and a dash, as on pages; `plain_text` makes them ASCII for terminals and plain files.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

MINUS = "\u2212"
# Control characters and those that change the writing direction: untrusted text must not rearrange the page.
_UNSEEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]")
# Stock has two arms, which have one name everywhere: by role.
TWO_ARMS = {"a/a": "{} (A/A)", "both arms": "{}, both arms"}


def decimals(scale: float | None, digits: int = 2) -> int:
    """Decimal places that show ``digits`` significant digits of ``scale``, an error or a spread."""
    if scale is None or not math.isfinite(scale) or scale <= 0:
        return 3
    return min(max(digits - 1 - math.floor(math.log10(scale)), 0), 6)


def interval_decimals(low: float | None, high: float | None, digits: int | None = None) -> int:
    """The same for a 95% interval, which is about four errors wide, or ``digits``; more where the limit next to 0 of an
    interval that excludes 0 would be displayed as 0, and up to six decimal places show it."""
    if low is None or high is None:
        return decimals(None) if digits is None else digits
    digits = decimals((high - low) / 4) if digits is None else digits
    nearest = max(low, -high)  # not above 0 where the interval includes 0
    more = (number for number in range(digits, 7) if nearest <= 0 or round(nearest, number) != 0)
    return next(more, digits)


def typical(values: Iterable[float | None]) -> float | None:
    """The median absolute value, without None and 0."""
    sizes = sorted(abs(v) for v in values if v)
    return sizes[len(sizes) // 2] if sizes else None


def tick_step(span: float, ticks: int) -> float:
    """1, 2 or 5 times a power of ten, so that about ``ticks`` of them cover ``span``."""
    rough = span / max(ticks, 1)
    power = 10.0 ** math.floor(math.log10(rough))
    return next(factor for factor in (1, 2, 5, 10) if factor * power >= rough * 0.99) * power


def number(value: float | None, decimals: int = 3, sign: bool = False) -> str:
    """Fixed decimals with a true minus; a dash for None."""
    if value is None or not math.isfinite(value):
        return "–"
    value = round(value, decimals) + 0.0  # no minus before a displayed zero
    text = f"{value:+.{decimals}f}" if sign else f"{value:.{decimals}f}"
    return text.replace("-", MINUS)


def minus(text: str) -> str:
    """The same with a true minus before negative numbers; names with hyphens and dates stay as they are."""
    return re.sub(r"(?<![\w.)-])-(?=\.?\d)", MINUS, text)


def brief(value: float | None, digits: int = 3) -> str:
    """Significant digits, with an exponent only for very large or small values."""
    if value is None or not math.isfinite(value):
        return "–"
    if value == 0 or 1e-4 <= abs(value) < 1e7:
        return number(value, min(max(digits - 1 - math.floor(math.log10(abs(value))), 0), 8) if value else 0)
    return f"{value:.{digits - 1}e}".replace("-", MINUS)


def significant(value: float | None, digits: int = 3, none: str = "unknown") -> str:
    """Significant digits in ASCII."""
    return none if value is None else f"{value:.{digits}g}"


def span(low: float | None, high: float | None, decimals: int = 3) -> str:
    """``0.55 to 0.70``; of values without any spread no interval, as their error is not known."""
    if low is None or high is None or low == high:
        return "no interval"
    return f"{number(low, decimals)} to {number(high, decimals)}"


def estimate(
    value: float | None, low: float | None, high: float | None, unit: str = "", digits: int | None = None,
    signed: bool = True,
) -> str:  # fmt: skip
    """``+0.48 nats [0.36, 0.60]``; ``digits``: at least so many, else as the interval justifies.
    Values without any spread have no interval, as their error is not known."""
    if low == high:
        low = high = None
    digits = interval_decimals(low, high, digits)
    bounds = "" if low is None or high is None else f" [{number(low, digits)}, {number(high, digits)}]"
    return f"{number(value, digits, signed)} {unit}".rstrip() + bounds


def plain_text(text: str) -> str:
    """A text for pages, for a terminal: with ASCII minus signs and dashes."""
    return text.replace(MINUS, "-").replace("–", "-")


def count(value: float | None) -> str:
    """``1,489``."""
    return "–" if value is None else f"{value:,.0f}".replace("-", MINUS)


def many(value: float | None, noun: str) -> str:
    """``1 run``, ``86 runs``, ``2 matches``, ``2 vetoes``, ``3 tries``."""
    if value == 1:
        return f"1 {noun}"
    if noun.endswith(("ch", "s", "x", "veto")):
        return f"{count(value)} {noun}es"
    if noun.endswith("y") and noun[-2:-1] not in "aeiou":
        return f"{count(value)} {noun[:-1]}ies"
    return f"{count(value)} {noun}s"


def duration(seconds: float | None) -> str:
    """``0.4 s``, ``42 s``, ``2 min 25 s``, ``3 h 05 min``, ``4 d 2 h``."""
    if seconds is None or not math.isfinite(seconds):
        return "–"
    if seconds < 60:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.2g} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    if whole < 48 * 3600:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"


def share(part: float | None) -> str:
    """A share in percent; a small one is not displayed as 0%."""
    return "–" if part is None else "<1%" if 0 < part < 0.005 else f"{part:.0%}"


def ranks(low: int | None, high: int | None) -> str:
    """``1`` or ``1–4``: the possible ranks of an arm."""
    if low is None or high is None:
        return "–"
    return str(low) if low == high else f"{low}–{high}"


def chance(p: float | None, level: float = 0.0) -> str:
    """A p or q value: ``0.013``, ``< 0.0001``; near ``level`` with enough digits to show on which side it is."""
    if p is None:
        return "–"
    digits = 2
    while p < level <= float(f"{p:.{digits}g}") or p > level >= float(f"{p:.{digits}g}"):
        digits += 1
    return "< 0.0001" if p < 1e-4 else f"{p:.{digits}g}"


def p_text(p: float | None, level: float = 0.0) -> str:
    """``= 0.013``, ``< 0.0001``: the text after the letter p."""
    text = chance(p, level)
    return text if text.startswith("<") else f"= {text}"


def arm_name(name: str, role: str | None) -> str:
    """``stock (A/A)``, ``stock, both arms``; of other roles the name alone."""
    return TWO_ARMS.get(role or "", "{}").format(name)


def clean(value: Any) -> Any:
    """Replaces invisible characters by a visible mark, but for finished HTML."""
    if isinstance(value, str) and not hasattr(value, "__html__"):
        return _UNSEEN.sub("\ufffd", value)
    if isinstance(value, Mapping):
        return {key: clean(item) for key, item in value.items()}
    if isinstance(value, list):
        return [clean(item) for item in value]
    return value
