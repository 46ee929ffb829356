"""Does a program that wins on its training tasks win on other tasks? Programs × tasks of a study on several tasks.

A cell is one program on one task: its verified gain over the runs of one stream (`queries/verdict/transfer.sql`),
beside stock's gain on the same task and stream. Training tasks (`home` in the view) chose the programs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from analysis.statistics import Estimate, mean_interval, ratio
from analysis.views.tables import rows, statement
from trainer.trust import weakest

if TYPE_CHECKING:
    import duckdb


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
    asked = con.execute(statement("verdict/transfer"))
    return [_cell(**row) for row in rows(asked)]


def _cell(stock_gains: Sequence[float], trusts: Sequence[str | None], **arm: Any) -> Cell:
    """The cell of a row of `queries/verdict/transfer.sql`."""
    stock = mean_interval(stock_gains)
    low, high = Estimate(arm["gain"], arm["se"], arm["n"] - 1).interval()
    return Cell(
        **arm, low=low, high=high, stock_gain=stock.value, ratio=ratio(arm["gain"], stock), trust=weakest(trusts)
    )
