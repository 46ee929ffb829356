"""Does a program that wins on its training tasks win on other tasks? Programs × tasks of a study on several tasks.

A cell is one program on one task: its verified gain over the runs of one stream (`queries/transfer.sql`), beside
stock's gain on the same task and stream. Training tasks (`home` in the view) chose the programs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from analysis.statistics import interval, mean_interval, ratio
from analysis.tables import statement, typed_rows
from analysis.trust import weakest
from programs.shelf import starter

if TYPE_CHECKING:
    import duckdb


@dataclass(frozen=True)
class TaskArm:
    """A row of `queries/transfer.sql`."""

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
    trusts: Sequence[str | None]
    stock_gains: Sequence[float]


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
    trust: str | None


def transfer_cells(con: duckdb.DuckDBPyConnection) -> list[Cell]:
    """The rows of the view, by task, training tasks first, best first. Empty if all runs are on one task."""
    asked = con.execute(statement("transfer"), {"stock": starter("stock").program_id})
    return [_cell(arm) for arm in typed_rows(asked, TaskArm)]


def _cell(arm: TaskArm) -> Cell:
    stock = mean_interval(arm.stock_gains)
    low, high = interval(arm.gain, arm.se, arm.n - 1)
    return Cell(
        task=arm.task, place=arm.place, program_id=arm.program_id, name=arm.name, role=arm.role,
        of_program=arm.of_program, stream=arm.stream, n=arm.n, gain=arm.gain, se=arm.se, low=low, high=high,
        unit=arm.unit, stock_gain=stock.mean, ratio=ratio(arm.gain, stock),
        trust=weakest(arm.trusts),
    )  # fmt: skip
