"""The tables of how early programs gain what stock gains (`analysis.anytime`)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from analysis.wording import percent, until
from meta.cli.output import Column, Output, Row, table

if TYPE_CHECKING:
    from analysis.anytime import Anytime


def early_json(one: Anytime) -> Row:
    """``shares``: by target in units of stock's mean gain, the share of the budget at which each run reached it; null:
    never."""
    shares = {str(t): [s if math.isfinite(s) else None for s in runs] for t, runs in one.shares.items()}
    return {**asdict(one), "shares": shares}


def show_early(out: Output, early: Sequence[Anytime]) -> None:
    """How early each program gets somewhere, over all its tasks (analysis.anytime)."""
    from rich.text import Text

    from analysis.anytime import GRID, TARGETS

    most = {(one.program_id, one.is_stock): one for one in early}  # the last one of a program is over all its tasks
    if not most:
        return
    rows: list[Row] = []
    for one in most.values():
        median, low, high = map(until, one.median())
        row: dict[str, object] = {"program": one.name, "tasks": len(one.tasks), "runs": one.runs, "until": median}
        row["95%"] = f"{low} to {high}"
        row |= {until(spent): until(one.reached(spent)) for spent in GRID}
        rows.append(row)
    if out.mode == "person":
        titles = {"until": "stock's gain after"}
        figures = (Column(name, titles.get(name, name), right=True) for name in [*rows[0]][1:])
        out.show(Text("How early, as a share of a run's budget", style="bold"))
        out.show(table(rows, (Column("program", flex=True, style="bold"), *figures), out.console.width))
        targets = " ".join(f"{target:g}" for target in TARGETS)
        out.note(
            "stock's gain after: the median share of the budget after which a run's kept script gains as much as "
            f"stock's runs do on average; {until(GRID[0])} to {until(GRID[-1])}: of the pairs of run and target "
            f"(multiples of that gain: {targets}) so many are reached by then; by the scores that researchers saw"
        )
    else:
        said = "; ".join(f"{row['program']} {row['until']} [{row['95%']}]" for row in rows)
        out.note(f"share of a run's budget until stock's mean gain, median: {said}")


def show_fastest(out: Output, early: Sequence[Anytime]) -> None:
    """The performance profile over tasks, where there are several; a line where there is no terminal."""
    from rich.text import Text

    from analysis.anytime import FACTORS, within

    names = {(one.program_id, one.is_stock): one.name for one in early}
    near = {factor: within(early, factor) for factor in FACTORS}
    rows: list[Row] = [
        {"program": names[key], "tasks": first.n}
        | {f"{factor:g} ×": percent(near[factor][key].mean) for factor in FACTORS}
        for key, first in near[FACTORS[0]].items()
        if first.n > 1
    ]
    if not rows:
        return
    if out.mode != "person":
        said = "; ".join(
            f"{row['program']} {' '.join(str(row[name]) for name in [*row][2:])} of {row['tasks']}" for row in rows
        )
        factors = ", ".join(f"{factor:g}" for factor in FACTORS)
        out.note(f"share of tasks with stock's gain in {factors} times the fastest program's time: {said}")
        return
    figures = (Column(name, name, right=True) for name in [*rows[0]][1:])
    out.show(Text("How often among the fastest", style="bold"))
    out.show(table(rows, (Column("program", flex=True, style="bold"), *figures), out.console.width))
    out.note(
        "the share of a program's tasks on which its median run has stock's gain in at most so many times the time of "
        "the fastest program there; tasks on which no program's median run has it are left out"
    )
