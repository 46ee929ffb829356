"""The part of champion.evidence.md about several tasks: the results of the champion on each of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from analysis.transfer import Cell, transfer

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from meta.verdict import Champion


@dataclass(frozen=True)
class ChampionOnTask:
    """Champion, champion without its ideas and stock on one task. ``p``: of the test that the study announced on it."""

    task: str
    kind: str
    champion: Cell
    bare: Cell | None
    stock: Cell | None
    unit: str
    p: float | None


def tasks_of(con: DuckDBPyConnection, champion: Champion) -> list[ChampionOnTask]:
    """A row per task; empty for a single task."""
    results = transfer(con)
    cells = results.of(champion.program.program_id)
    announced = {there.task: there.p_adjusted for there in champion.on_reserve}
    if not champion.claim.tasks and results.tasks.training:
        announced[results.tasks.training[0]] = champion.claim.p
    made = []
    for task in dict.fromkeys(cell.task for cell in cells):
        own = {cell.role: cell for cell in cells if cell.task == task}
        if best := own.get("champion"):
            bare, stock = own.get("without-ideas"), own.get("control")
            made.append(ChampionOnTask(task, best.task_kind, best, bare, stock, best.unit, announced.get(task)))
    return made
