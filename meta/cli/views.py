"""Tables on a screen: the rows of an SQL file of ``meta/views``, printed as a table, as TSV or as JSON.

The comment at the head of a file is the legend below its table. In a table ``low`` and ``high`` are one column, columns
without a value are left out, and further lines of the comment say more: ``-- group: COLUMN`` (its values are headings),
``-- hide: COLUMN …`` and ``-- optional: COLUMN …`` (left out in a narrow terminal). Piped output has the columns that
are not hidden, the group last, with six significant digits, JSON all columns of the query as they are.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis.wording import TWO_ARMS, chance, count, decimals, duration, number, share, span, typical
from meta.cli.output import Column, Output, Row, are_numbers, brief, table
from meta.cli.resolve import fetch, short

if TYPE_CHECKING:
    import duckdb

FOLDER = Path(__file__).parents[1] / "views"
GAINS = ("gain", "estimate", "difference", "claimed", "first", "second", "per_hour")  # with the digits of the interval
HEADINGS = {
    "device_seconds_charged": "device time charged",
    "utilization": "device used",
    "low": "95% interval",
    "name": "program",
    "credit_id": "row",
}
# An arm's role and name together.
ROLES = {
    "control": "{} (control)", **TWO_ARMS, "without-ideas": "without its ideas", "start": "{} (start)",
    "learnt": "{} (not in the search)", "own": "your program", "one-line": "one-line (control)",
}  # fmt: skip


def named(name: str, role: str | None) -> str:
    """An arm by its program and its role, which comes first: a narrow terminal shortens names."""
    if role in ROLES:
        return ROLES[role].format(name)
    return name if role in (None, "", "program", name) else f"{role} {name}"


@dataclass(frozen=True)
class View:
    """An SQL file: its query and what the head of the file says."""

    sql: str
    legend: str = ""
    group: str = ""
    hide: Sequence[str] = ()
    optional: Sequence[str] = ()

    @property
    def unset(self) -> list[None]:
        """No value for each of its parameters."""
        return [None] * max(map(int, re.findall(r"\$(\d)", self.sql)), default=0)

    def rows(self, con: duckdb.DuckDBPyConnection, parameters: Sequence[Any] = ()) -> list[dict[str, Any]]:
        return fetch(con, self.sql, parameters)


def names() -> list[str]:
    return sorted(path.stem for path in FOLDER.glob("*.sql"))


@cache
def view(name: str) -> View:
    """The view of ``meta/views/NAME.sql``."""
    text = (FOLDER / f"{name}.sql").read_text("utf-8")
    head = [line.removeprefix("-- ") for line in text.splitlines() if line.startswith("-- ")]
    columns_of_view = {
        key: value for key, _, value in (line.partition(": ") for line in head) if key in ("group", "hide", "optional")
    }
    legend = " ".join(line for line in head if line.partition(": ")[0] not in columns_of_view)
    return View(
        text,
        legend,
        columns_of_view.get("group", ""),
        columns_of_view.get("hide", "").split(),
        columns_of_view.get("optional", "").split(),
    )


def show(
    out: Output, rows: Sequence[Mapping[str, Any]], how: View, *, empty: str = "", extra: Row | None = None
) -> None:
    """Print rows with the legend, the groups and the hidden columns of a view."""
    keys = list(rows[0]) if rows else []
    if out.mode != "person":
        if out.mode == "plain":
            rows = [
                {key: float(f"{value:.6g}") if isinstance(value, float) else value for key, value in row.items()}
                for row in rows
            ]
        piped = [Column(key) for key in sorted(keys, key=how.group.__eq__) if key not in how.hide]
        out.rows(rows, piped, extra=extra, empty=empty)
        return
    from rich.text import Text

    for heading, group in groupby(rows, key=lambda row: str(row.get(how.group) or "")):
        some = list(group)
        if heading:
            out.show(Text(heading, style="bold"))
        left = {how.group, *how.hide, *(key for key in keys if all(row[key] in (None, "") for row in some))}
        digits = digits_of(some)
        shown = shaped([key for key in keys if key not in left], some, digits)
        columns = [replace(column, optional=column.key in how.optional) for column in shown]
        if "low" in keys:
            some = [{**row, "low": interval_of(row, digits)} for row in some]
        out.show(table(some, columns, out.console.width))
    if how.legend and rows:
        out.note(how.legend)
    if not rows and empty:
        out.note(empty)


def interval_of(row: Mapping[str, Any], digits: int) -> str | None:
    """The interval of a row; values without any spread have none."""
    return span(row["low"], row["high"], digits) if row["low"] != row["high"] else None


def digits_of(rows: Sequence[Any]) -> int:
    """Decimal places that the intervals of the rows justify."""
    bounds = ((row.get("low"), row.get("high")) for row in rows)
    return decimals(typical((high - low) / 4 for low, high in bounds if low is not None and high is not None))


def shaped(keys: Sequence[str], rows: Sequence[Any], digits: int) -> Iterator[Column]:
    """The columns of a table: what a value is follows from the name of its column."""
    formats: dict[str, Callable[[Any], str]] = {
        **dict.fromkeys(GAINS, lambda value: number(value, digits)),
        **dict.fromkeys(("p", "q", "p_holm"), chance),
        "utilization": lambda part: share(min(part, 1.0)), "tokens": count, "low": str,
    }  # fmt: skip
    if "per_hour" in keys:  # the interval is of that column
        del formats["gain"]
    for key in keys:
        if key == "high" and "low" in keys:
            continue
        shown = formats.get(key, short if key.endswith("_id") else duration if "seconds" in key else brief)
        right = key == "low" or are_numbers(rows, key)
        style = "green" if key in GAINS[:2] else ""
        yield Column(
            key, HEADINGS.get(key, key.replace("_", " ")), show=shown, right=right, wrap=not right, style=style
        )
