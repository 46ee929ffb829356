"""The view `scales`: the divisor of gains on each training task in means over several tasks."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from analysis.scales import scale_of
from analysis.study_power import arm_gains
from programs.shelf import starter

if TYPE_CHECKING:
    import duckdb

CHOOSING = ("race", "generation", "contest")  # purposes of the matches that select programs


@dataclass(frozen=True)
class TaskScale:
    """A row of the view `scales`: a training task. Gains in the metric's unit."""

    task: str
    unit: str | None
    size: float
    of_stock: bool  # the size is stock's mean gain; else a standard deviation between runs
    stock_gain: float | None
    low: float | None
    high: float | None
    n: int  # runs of stock
    family: str | None  # in a study over families; all its tasks have one scale


def task_scales(con: duckdb.DuckDBPyConnection) -> Iterator[TaskScale]:
    """From the verified runs of all selecting matches, in the order of the tasks' first match."""
    family = families(con)
    by_task: dict[tuple[str, str], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for arm in arm_gains(con):
        if arm.purpose in CHOOSING:
            by_task[arm.task, arm.unit or ""][arm.program_id] += arm.gains
    stock = starter("stock").program_id
    together: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for (task, _), by_program in by_task.items():
        for program_id, gains in by_program.items():
            together[family.get(task, task)][program_id] += gains
    for task, unit in by_task:
        gains_of = dict(together[family.get(task, task)])
        scale = scale_of(task, unit, gains_of.pop(stock, []), gains_of.values())
        mean = scale.stock
        yield TaskScale(
            task, unit, scale.size, scale.of_stock, mean.mean, mean.low, mean.high, mean.n, family.get(task)
        )


def families(con: duckdb.DuckDBPyConnection) -> dict[str, str]:
    """task → its family, in a study over families."""
    (config,) = con.execute("SELECT config FROM studies").fetchone() or ("{}",)
    members = ((json.loads(config or "{}").get("families") or {}).get("members") or {}).items()
    names = {task_id: name for name, ids in members for task_id in ids}
    tasks = con.execute("SELECT DISTINCT task, task_id FROM matches WHERE task_id IS NOT NULL").fetchall()
    return {task: names[task_id] for task, task_id in tasks if task_id in names}
