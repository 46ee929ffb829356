"""The part of champion.evidence.md about several tasks: the results of the champion on each of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from analysis.over_reserved import OverReserved, over_reserved
from analysis.transfer import transfer

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from meta.verdict import Champion


def tasks_of(con: DuckDBPyConnection, champion: Champion) -> list[dict[str, Any]]:
    """A row per task: champion, champion without its ideas and stock, with ratios to stock; empty for a single task.

    ``p``: of the test that the study announced on the task.
    """
    results = transfer(con)
    cells = results.of(champion.program.program_id)
    announced = {there.task: there.p_adjusted for there in champion.elsewhere}
    if not champion.claim.tasks and results.tasks.training:
        announced[results.tasks.training[0]] = champion.claim.p
    made = []
    for task in dict.fromkeys(cell.task for cell in cells):
        own = {cell.role: cell for cell in cells if cell.task == task}
        if "champion" in own:
            made.append({"task": task, "kind": own["champion"].task_kind, "champion": own["champion"],
                         "bare": own.get("without-ideas"), "stock": own.get("control"),
                         "unit": own["champion"].unit, "p": announced.get(task)})  # fmt: skip
    return made


def together(con: DuckDBPyConnection, champion: Champion) -> OverReserved | None:
    """The mean over several held-out tasks."""
    return over_reserved(con, {there.task: there.claim is not None for there in champion.elsewhere})
