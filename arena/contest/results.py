"""The result of each run of an entry, stored for its page; the ledger has more."""

from __future__ import annotations

from statistics import fmean
from typing import Any

from sqlalchemy.orm import undefer

from arena.contest.contest import Contest
from arena.contest.entries import set_columns
from arena.contest.stored import RunColumns, SeedResult
from arena.contest.tables import ContestEntry
from arena.measuring import run_gain
from arena.task_study import TaskStudy
from inner_loop.events import RunEndedEvent


def run_result(on: TaskStudy, run_id: str, run: RunEndedEvent) -> RunColumns:
    """A measured run: verified gain, in total and per fresh seed, and claimed gain."""
    seeds: list[SeedResult] = [
        {"seed": v.seed, "status": v.status, "metric": v.metric, "gain": v.gain}
        for v in on.state.run(run_id).verifications.values()
    ]
    measured = [v.constraints or {} for v in on.state.run(run_id).verifications.values()]
    reached = {name: [one[name] for one in measured if name in one] for name in on.task.constraints}
    result: RunColumns = {
        "run_id": run_id,
        "gain": run_gain(on, run_id),
        "claimed": run.claimed_gain,
        "seeds": seeds,
        "experiments": run.experiments,
        "kept": run.kept,
        "baseline_metric": run.baseline_metric,
        "final_metric": run.final_metric,
        "reason": run.reason,
    }
    if on.task.constraints:
        result["constraints"] = {name: fmean(values) for name, values in reached.items() if values}
    return result


def store_result(contest: Contest, number: int, run: int, result: RunColumns, **values: Any) -> None:
    """Store the result of a run of an entry, and set more columns with it."""
    with contest.database.write() as connection:
        entry = connection.get_one(ContestEntry, number, options=[undefer(ContestEntry.results)])
        entry.results = {**entry.results, str(run): result}
        set_columns(connection, entry, **values)
