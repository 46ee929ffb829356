"""The table of a match on several tasks: gains of each program on each task."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from analysis.verdict.decision import LEVEL
from analysis.wording import decimals, few, many, plain_number, plain_span, role_name
from meta.cli import resolve
from meta.cli.output import Column, Output, Row, columns, table

if TYPE_CHECKING:
    from analysis.transfer import Cell

PLAIN = columns("""
    task place name role n gain low high se unit ratio p p_adjusted stock_gain stream trust program_id
""")
COLUMNS = (
    Column("program", flex=True, style="bold"),
    Column("role"),
    Column("gain", right=True, style="green"),
    Column("95%", "95%, between\nruns", right=True),
    Column("ratio", "× stock", right=True),
    Column("p", right=True),
    Column("n", "runs", right=True),
)
LEGEND = (
    "× stock: ratio to stock's mean gain, where that is significantly above 0; p: one-sided test of a larger gain than "
    "stock's (Holm)"
)


def present(out: Output, folder: Path) -> None:
    """Show the results of a study on several tasks."""
    from rich.text import Text

    from analysis.transfer import transfer_cells

    with resolve.connect(folder, []) as con:
        cells = transfer_cells(con)
    rows: list[Row] = [asdict(cell) for cell in cells]
    if out.mode == "json":
        out.json({"study": resolve.shown(folder), "cells": rows})
        return
    if out.mode == "plain":
        out.rows(rows, PLAIN)
    else:
        show_cells(out, cells)
        for text in shown_better(cells):
            out.show(Text(text))
    out.note(LEGEND)


def shown_better(cells: Sequence[Cell]) -> Iterator[str]:
    """For each program on how many of its tasks it is shown to gain more than stock, at LEVEL after Holm's
    correction."""
    for name in dict.fromkeys(cell.name for cell in cells if cell.role in ("program", "champion")):
        own = [cell for cell in cells if cell.name == name and cell.p_adjusted is not None]
        better = [cell.task for cell in own if cell.p_adjusted is not None and cell.p_adjusted <= LEVEL]
        if own:
            on = f"{many(len(own), 'task')}{': ' * bool(better)}{few(better)}"
            yield f"{name} is shown to gain more than stock on {len(better)} of {on} (p at most {LEVEL})."


def show_cells(out: Output, cells: Sequence[Cell]) -> None:
    """Show a table per task and stream: gains of other streams are on other seeds and data."""
    from rich.text import Text

    for task, stream in dict.fromkeys((cell.task, cell.stream) for cell in cells):
        own = [cell for cell in cells if (cell.task, cell.stream) == (task, stream)]
        title = f"{task} ({own[0].task_kind}), gains in {own[0].unit}, {stream} data"
        out.show(Text(title, style="bold"))
        digits = decimals(min((cell.se for cell in own if cell.se), default=None))
        out.show(table([_row(cell, digits) for cell in own], COLUMNS, out.console.width))


def _row(cell: Cell, digits: int) -> Row:
    p = cell.p_adjusted
    return {
        "program": cell.name,
        "role": role_name(cell.role),
        "gain": plain_number(cell.gain, digits),
        "95%": plain_span(cell.low, cell.high, digits),
        "ratio": "" if cell.ratio is None else plain_number(cell.ratio, 2),
        "p": "" if p is None else "<.001" if p < 0.001 else f"{p:.3f}",
        "n": str(cell.n),
    }
