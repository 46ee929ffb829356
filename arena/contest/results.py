"""What came of each run of an entry, for its page; the ledger holds the same, and more."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy.orm import undefer

from arena.contest.contest import Contest
from arena.contest.entries import set_columns
from arena.contest.tables import Entry
from arena.measuring import run_gain
from arena.task_study import TaskStudy
from inner_loop.events import RunEndedEvent

TOLD = ("experiments", "kept", "baseline_metric", "final_metric", "reason")


def run_result(on: TaskStudy, run_id: str, run: RunEndedEvent) -> dict[str, Any]:
    """A measured run: its verified gain, per fresh seed too, beside what it claimed."""
    seeds = [
        {"seed": v.seed, "status": v.status, "metric": v.metric, "gain": v.gain}
        for v in on.state.run(run_id).verifications.values()
    ]
    told = {key: getattr(run, key) for key in TOLD} | {"task": on.task.name}
    return {"run_id": run_id, "gain": run_gain(on, run_id), "claimed": run.claimed_gain, "seeds": seeds, **told}


def tell_result(contest: Contest, number: int, run: int, result: Mapping[str, Any], **values: Any) -> None:
    """Write down a run of an entry, and set further columns with it."""
    with contest.database.write() as connection:
        entry = connection.get_one(Entry, number, options=[undefer(Entry.results)])
        entry.results = {**entry.results, str(run): dict(result)}
        set_columns(connection, entry, values)
