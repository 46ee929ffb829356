"""Rows of a query as a table of text: each value formatted by its type and the name of its column."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from analysis.wording import brief, chance, count, duration, interval_decimals, number, share, span

MOST = 160  # characters of a cell
ESTIMATES = ("gain", "estimate")  # columns that ``low`` and ``high`` belong to


def table(rows: Sequence[dict[str, Any]], hidden: Collection[str] = ()) -> tuple[list[str], list[list[str]]]:
    """Titles, ``>`` before those of figures, and rows of cells; columns without a value are left out."""
    names = [
        name for name in rows[0]
        if name not in hidden and name != "high" and any(row[name] not in (None, "", []) for row in rows)
    ]  # fmt: skip
    titles = []
    for name in names:
        figures = all(isinstance(row[name], int | float) or row[name] is None for row in rows)
        shown = "95% interval" if name == "low" else name.removesuffix("_seconds").replace("_", " ")
        titles.append(f"{'>' if figures and name != 'low' else ''}{shown}")
    return titles, [[cell(name, row) for name in names] for row in rows]


def cell(name: str, row: dict[str, Any]) -> str:
    value = row[name]
    digits = interval_decimals(row.get("low"), row.get("high"))
    if name == "low":
        return span(value, row["high"], digits) if value is not None else ""
    if value is None:
        return ""
    if name == "q":
        return chance(value)
    if name.endswith("share"):
        return share(value)
    if name.endswith("seconds"):
        return duration(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return count(value)
    if isinstance(value, float):
        known = row.get("low") is not None and name in ESTIMATES
        return number(value, digits, sign=name == "estimate") if known else brief(value, 4)
    return str(value)[:MOST]
