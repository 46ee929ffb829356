"""Splits the rows of a table into runs: one per metric, without sentinels, with a direction."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from analysis.imports.cells import sentinels
from analysis.imports.direction import Direction, infer
from analysis.imports.layout import Layout, named
from analysis.imports.rows import ParsedRow
from analysis.imports.table import Aside, LogTable, each_row, set_aside
from analysis.imports.words import FAILED, failure


@dataclass
class Run:
    """The rows of one metric, in the order of the log. ``merged``: number of further lines merged into them."""

    metric: str | None
    direction: Direction
    source: str  # how the metric was identified
    rows: list[ParsedRow] = field(default_factory=list)
    merged: int = 0
    doubt: tuple[str, ...] = ()


def runs_of(table: LogTable, wanted: str | None, direction: str | None) -> tuple[list[Run], list[Aside]]:
    """The runs of a table, and the rows of a long table without a matching row of its metric.

    ``wanted`` and ``direction``: as the user states them.
    """
    runs: dict[str | None, Run] = {}
    primary = _primary(table, wanted)
    apart: list[tuple[Layout, ParsedRow]] = []
    for layout, row in each_row(table):
        if row.name is not None and row.name != primary:
            apart.append((layout, row))
            continue
        name = layout.metric if row.name is None else row.name
        run = runs.setdefault(name, Run(name, Direction(None, ""), layout.source, doubt=layout.doubt))
        run.rows.append(row)
    asides = _attach(runs.get(primary), apart) if apart else []
    for run in runs.values():
        settle(run, direction)
    return list(runs.values()), asides


def _primary(table: LogTable, wanted: str | None) -> str | None:
    """The metric of a long table: the requested one, else the one with the most rows, else the first."""
    names = Counter(row.name for _, row in each_row(table) if row.name is not None)
    if not names:
        return None
    return (named(wanted, names) if wanted else None) or max(names, key=lambda name: names[name])


def _attach(run: Run | None, apart: list[tuple[Layout, ParsedRow]]) -> list[Aside]:
    """Adds further metrics to the row of their experiment; quarantines those without one."""
    by_commit: dict[str, list[ParsedRow]] = {}
    for row in run.rows if run else ():
        by_commit.setdefault(row.commit, []).append(row)
    asides: list[Aside] = []
    for _, row in apart:
        near = min(by_commit.get(row.commit, ()), key=lambda r: abs(r.line - row.line), default=None)
        if near is None or run is None or not row.commit or f"{row.name}" in near.extra:
            other = run.metric if run else None
            reason = f"metric {row.name!r} without a matching row of {other!r}; --metric {row.name} imports it"
            asides += set_aside(row, reason)
            continue
        near.extra = near.extra | {f"{row.name}": f"{row.value}"}
        run.merged += row.lines
    return asides


def settle(run: Run, direction: str | None) -> None:
    """Removes sentinels from the metric, decides the direction, and gives every row its status."""
    stated = {row.direction for row in run.rows if row.direction}
    failed = [row.value for row in run.rows if row.status in FAILED and row.value is not None]
    ran = [row.value for row in run.rows if row.status not in FAILED and row.value is not None]
    gone = sentinels(ran, failed, positive=False)
    decided = [(None if row.value in gone or row.status in FAILED else row.value, row.decision) for row in run.rows]
    if direction is not None:
        run.direction = Direction(direction, "given")
    elif len(stated) == 1:
        run.direction = Direction(stated.pop(), "its column")
    else:
        run.direction = infer(run.metric, decided)
    gone |= sentinels(ran, failed, positive=run.direction.way == "lower")
    for row in run.rows:
        _settle_row(row, gone)


def _settle_row(row: ParsedRow, gone: set[float]) -> None:
    if row.value in gone:
        row.value = None
    if row.status in FAILED:
        row.memory_mb = row.memory_mb or None  # written as 0.0, like the metric
    elif row.status is None and row.value is not None:
        row.status = "ok"
    elif row.status == "ok" and row.value is None:
        row.status = _failure(row.description)


def _failure(description: str) -> str | None:
    """The failure named by the first word of a description, for a row without a metric."""
    first = description.split(None, 1)[0] if description else ""
    said = failure(first) if first else None
    return said.status if said is not None else None
