"""Does a program that wins on its training tasks win on other tasks? Programs × tasks of a study on several tasks.

A cell is one program on one task: its verified gain over the runs of one stream (`queries/transfer.sql`), and the test
against stock's gain on the same task and stream. Training tasks (`home` in the view) chose the programs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from analysis.statistics import holm, interval, mean_interval, one_sided, ratio, shared_error, skewed_difference
from analysis.tables import statement, typed_rows
from analysis.trust import weakest
from programs.shelf import starter

if TYPE_CHECKING:
    import duckdb

FINAL = ("confirmation", "reserve")  # streams of matches that select nothing


@dataclass(frozen=True)
class TaskArm:
    """A row of `queries/transfer.sql`; ``is_stock``: stock or its A/A arm."""

    task: str
    place: str
    program_id: str
    name: str
    role: str
    of_program: str | None
    stream: str
    n: int
    gain: float
    se: float | None
    unit: str
    gains: Sequence[float]
    touched: float
    trusts: Sequence[str | None]
    is_stock: bool
    stock_gains: Sequence[float]
    stock_touched: float
    baseline: Sequence[float]


@dataclass(frozen=True)
class Cell:
    """A row of the view `transfer`: one program on one task. Gains are in the task's unit, positive is better."""

    task: str
    place: str  # home or elsewhere
    program_id: str
    name: str
    role: str  # champion, program, without-ideas, control (stock), a/a, one-line
    of_program: str | None  # of a program without its ideas: the program with them
    stream: str
    n: int
    gain: float | None
    se: float | None
    low: float | None  # two-sided 95% t interval between runs
    high: float | None
    unit: str
    stock_gain: float | None  # mean of stock on this task and stream, both arms together
    ratio: float | None  # to it, where that may be stated (`statistics.ratio`)
    p: float | None  # one-sided test of "no better than stock", as a study announces it
    p_adjusted: float | None  # Holm over the rows of the view of the same stream
    trust: str | None


def transfer_cells(con: duckdb.DuckDBPyConnection) -> list[Cell]:
    """The rows of the view, by task, training tasks first, best first. Empty if all runs are on one task."""
    asked = con.execute(statement("transfer"), {"stock": starter("stock").program_id})
    return _adjusted([_cell(arm) for arm in typed_rows(asked, TaskArm)])


def _cell(arm: TaskArm) -> Cell:
    stock = mean_interval(arm.stock_gains)
    error = shared_error(arm.baseline, arm.touched, arm.stock_touched)
    apart = skewed_difference(arm.gains, arm.stock_gains, error)
    low, high = interval(arm.gain, arm.se, arm.n - 1)
    return Cell(
        task=arm.task, place=arm.place, program_id=arm.program_id, name=arm.name, role=arm.role,
        of_program=arm.of_program, stream=arm.stream, n=arm.n, gain=arm.gain, se=arm.se, low=low, high=high,
        unit=arm.unit, stock_gain=stock.mean, ratio=ratio(arm.gain, stock),
        p=None if arm.is_stock or apart.se is None else one_sided(apart), p_adjusted=None,
        trust=weakest(arm.trusts),
    )  # fmt: skip


def _adjusted(cells: Sequence[Cell]) -> list[Cell]:
    """Holm over the tested cells; final streams form a family of their own."""
    adjusted: dict[tuple[str, str], float] = {}
    for final in (False, True):
        tested = [c for c in cells if c.p is not None and (c.stream in FINAL) == final]
        ps = holm([cell.p or 0.0 for cell in tested])
        adjusted |= {(cell.task, cell.program_id): p for cell, p in zip(tested, ps, strict=True)}
    return [
        replace(cell, p_adjusted=adjusted[cell.task, cell.program_id]) if cell.p is not None else cell for cell in cells
    ]
