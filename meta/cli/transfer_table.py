"""The tables of transfer: gains per task, and the edits and directives that help on which tasks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from analysis.verdict.decision import LEVEL
from analysis.wording import TWO_ARMS, decimals, few, many, plain_number, plain_span
from meta.cli import resolve
from meta.cli.output import Column, Output, Row, columns, table
from programs.errors import NotComparable

if TYPE_CHECKING:
    from analysis.transfer import Cell, Transfer
    from analysis.transfer_credit import Across

PLAIN = columns("""
    task place name role n gain low high se unit ratio ratio_lower p p_adjusted stock_gain like_id stream trust
    program_id
""")
COLUMNS = (
    Column("program", flex=True, style="bold"),
    Column("gain", right=True, style="green"),
    Column("95%", right=True),
    Column("ratio", "× stock", right=True),
    Column("lower", "at least", right=True),
    Column("p", right=True),
    Column("n", right=True),
)
LEGEND = (
    "at least: one-sided 95% lower bound of the ratio to stock; p: one-sided test of a larger gain than stock's, "
    "corrected within each task (Holm); n: runs"
)
MARK = "°"  # rows on another stream than the first row of their table
MOST = 12  # rows of a class that are shown at a terminal; --json has all


def present(out: Output, folder: Path) -> None:
    """Show all results of a study on several tasks. Raises NotComparable where its runs are on one task."""
    from rich.text import Text

    from analysis.transfer import transfer, transfer_runs
    from analysis.transfer_credit import across

    with resolve.connect(folder, []) as con:
        results = transfer(con)
        if not results.cells:
            raise NotComparable(
                f"{resolve.shown(folder)} has runs on one task only",
                hint="metaloop transfer PROGRAM --task a,b; metaloop evolve --reserve b",
            )
        moved = across(con, results.tasks, results.cells, transfer_runs(con))
    if out.mode == "json":
        moved_rows = [row_json(row) for row in moved]
        out.json({"study": resolve.shown(folder), **as_json(results), "across": moved_rows})
        return
    if out.mode == "plain":
        out.rows([asdict(cell) for cell in results.cells], PLAIN)
    else:
        show_cells(out, results.cells)
        for text in shown_better(results.cells):
            out.show(Text(text))
    for line in (*aa_lines(results.cells), LEGEND):
        out.note(line)
    show_across(out, moved, results.tasks.all)
    name = resolve.typed(folder)
    out.next(f"metaloop standings {name} --all", f"metaloop transfer {name} --json", f"metaloop report {name}")


def shown_better(cells: Sequence[Cell]) -> Iterator[str]:
    """For each program on how many of its tasks it is shown to gain more than stock, at LEVEL after Holm's
    correction."""
    for name in dict.fromkeys(cell.name for cell in cells if cell.role in ("program", "champion")):
        own = [cell for cell in cells if cell.name == name and cell.p_adjusted is not None]
        better = [cell.task for cell in own if cell.p_adjusted is not None and cell.p_adjusted <= LEVEL]
        if own:
            on = f"{many(len(own), 'task')}{': ' * bool(better)}{few(better)}"
            yield f"{name} is shown to gain more than stock on {len(better)} of {on} (p at most {LEVEL})."


def as_json(results: Transfer) -> Row:
    return {
        "home": list(results.tasks.training),
        "elsewhere": list(results.tasks.other),
        "cells": [asdict(cell) for cell in results.cells],
    }


def row_json(row: Across) -> Row:
    fields = asdict(row)
    fields["found"] = fields.pop("outcome")
    return {**fields, "words": row.words, "design": row.design, "causal": row.causal}


def show_cells(out: Output, cells: Sequence[Cell]) -> None:
    """Show a table per task."""
    from rich.text import Text

    from analysis.transfer import both_arms

    for task in dict.fromkeys(cell.task for cell in cells):
        own = [cell for cell in cells if cell.task == task]
        own += both_arms(own)
        first = own[0]
        streams = "/".join(dict.fromkeys(cell.stream for cell in own))
        out.show(Text(f"{task} ({first.task_kind}), gains in {first.unit}, {streams} data", style="bold"))
        digits = decimals(min((cell.se for cell in own if cell.se), default=None))
        out.show(table([_row(cell, digits, own) for cell in own], COLUMNS, out.console.width))
        for cell in list({cell.stream: cell for cell in own if cell.stream != first.stream}.values()):
            stock = plain_number(cell.stock_gain, digits)
            out.show(Text(f"{MARK} on the {cell.stream} data, where stock gained {stock}", style="dim"))
        if any(cell.like_id for cell in own):
            out.show(Text("a = b: a behaves like b on this task, so it was not run and has b's figures", style="dim"))


def _row(cell: Cell, digits: int, others: Sequence[Cell]) -> Row:
    from analysis.transfer import BOTH, TWIN

    same = cell.role in ("control", TWIN) and any(other.role == BOTH for other in others)  # whose mean divides
    marked = MARK if cell.stream != others[0].stream else ""
    return {
        "program": f"{name_of(cell)}{like(cell, others)}{marked}",
        "gain": plain_number(cell.gain, digits),
        "95%": plain_span(cell.low, cell.high, digits),
        "ratio": "" if same else plain_number(cell.ratio, 2),
        "lower": "" if same else plain_number(cell.ratio_lower, 2),
        "p": _chance(cell.p_adjusted),
        "n": str(cell.n),
    }


def _chance(p: float | None) -> str:
    return "" if p is None else "<.001" if p < 0.001 else f"{p:.3f}"


def name_of(cell: Cell) -> str:
    """The program's name in a table, with its role."""
    names = {
        "control": "{} (control)",
        **TWO_ARMS,
        "champion": "champion {}",
    }
    return names.get(cell.role, "{}").format(cell.name)


def like(cell: Cell, others: Sequence[Cell]) -> str:
    """`` = NAME`` where the program was not run because it behaves like program NAME on the task, else empty."""
    if cell.like_id is None:
        return ""
    name = next((c.name for c in others if c.program_id == cell.like_id), cell.like_id)
    return f" = {name}"


def aa_lines(cells: Sequence[Cell]) -> list[str]:
    """The ratio of the gains of stock's two arms on each task."""
    lines = []
    for cell in cells:
        if cell.role == "a/a" and cell.ratio is not None:
            lines.append(f"A/A on {cell.task}: stock (A/A) gained {cell.ratio:.2f} times as much as stock")
    return lines


def show_across(out: Output, moved: Sequence[Across], tasks: Sequence[str]) -> None:
    """Show the significant rows, a table per method and class; the other rows are counted."""
    from rich.text import Text

    from analysis.transfer_credit import SIGNIFICANT

    for method in dict.fromkeys(row.method for row in moved):
        own = [row for row in moved if row.method == method]
        for words in dict.fromkeys(row.words for row in own if row.outcome in SIGNIFICANT):
            rows = [row for row in own if row.words == words and row.outcome in SIGNIFICANT]
            if out.mode == "person":
                out.show(Text(f"{TITLES[method]}: {words} ({rows[0].design}), × stock's mean gain", style="bold"))
                short = len(tasks) > SIDE_BY_SIDE
                columns = (Column("what", flex=True), *(Column(task, right=True) for task in tasks))
                out.show(table([_across_row(row, short) for row in rows[:MOST]], columns, out.console.width))
            left = f"; showing the first {MOST}, --json has all" if len(rows) > MOST and out.mode == "person" else ""
            if left or out.mode == "plain":
                out.note(f"{TITLES[method]}: {words}: {len(rows)}{left}")
        if out.mode == "person" and len(tasks) > SIDE_BY_SIDE and any(row.outcome in SIGNIFICANT for row in own):
            out.show(Text(STARS, style="dim"))
        open_ = sum(row.outcome == "open" for row in own)
        absent = sum(row.outcome == "absent" for row in own)
        hidden = f"{open_} not significant, {absent} that exist on one side only"
        out.note(f"{TITLES[method]}: of {len(own)} rows, hidden: {hidden}")


SIDE_BY_SIDE = 2  # tasks whose intervals fit into a line; with more, a star marks intervals that exclude 0
SHORT = {"absent": "–", "own": "own", "untried": "·", "beside": "?"}
STARS = (
    "*: the 95% interval excludes 0; ·: not tried; ?: only tried beside a change that hurts; –: does not exist on this "
    "task; own: already in its train.py"
)
TITLES = {
    "edit": "edits, gain per trial",
    "tries": "directives, gain per trial that cites them",
    "factorial": "directives, factorial ablation",
    "without-ideas": "programs with and without their idea list",
}


def _across_row(row: Across, short: bool = False) -> Row:
    from analysis.transfer_credit import STATES

    cells = {}
    for there in row.there:
        if there.estimate is None:
            cells[there.task] = STATES[there.state] if not short else SHORT.get(there.state, "")
        elif there.scaled is None:
            cells[there.task] = f"{there.estimate:+.3g} {there.unit}"
        elif short:
            clear = (there.scaled_low or 0.0) > 0 or (there.scaled_high or 0.0) < 0
            cells[there.task] = f"{there.scaled:+.2f}{'*' if clear else ' '}"
        else:
            ends = plain_span(there.scaled_low, there.scaled_high, 2)
            cells[there.task] = f"{there.scaled:+.2f} ({ends})"
    return {"what": " ".join(row.label.split()), **cells}
