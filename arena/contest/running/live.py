"""What an entry's page shows of its runs: progress, written a few times a second at most, then the result."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from statistics import fmean
from typing import Any

from pydantic import JsonValue
from sqlalchemy.orm import undefer

from analysis.wording import duration, many, number
from arena.contest.contest import Contest
from arena.contest.entering.entries import change, set_columns
from arena.contest.stored import RunColumns, RunProgress, SeedResult
from arena.contest.tables import ContestEntry
from arena.measuring import run_gain
from arena.serving.clock import utc_now
from arena.study.task_study import TaskStudy
from inner_loop.events import Event, Experiment, RunEndedEvent

SECONDS = 0.5  # between two writes for one entry


class Live:
    """Tracks the progress of the runs of each entry."""

    def __init__(self, contest: Contest) -> None:
        self.contest = contest
        self.runs: dict[int, dict[str, RunProgress]] = {}
        self.written: dict[int, float] = {}
        self.shown: set[int] = set()  # entries with progress in the database

    def take(
        self, number: int, index: int | None, event: Mapping[str, JsonValue], before: Sequence[Event] = ()
    ) -> None:
        """``before``: the run's events in the ledger when it resumed, which the worker does not send again."""
        self.written.setdefault(number, time.monotonic())
        runs = self.runs.setdefault(number, {})
        run = runs.setdefault(str(event["run_id"]), resumed(index, before))
        if event.get("kind") == "experiment":
            run["experiments"] += 1
            charged = event.get("device_seconds_charged")
            run["charged"] = round(run["charged"] + (charged if isinstance(charged, int | float) else 0.0), 3)
            run["last"] = {key: event.get(key) for key in ("status", "metric", "description")}
            run["at"] = utc_now().isoformat()
        measuring = event.get("kind") == "measuring"
        if measuring:  # no event follows for some time
            run["measuring"], run["at"] = True, utc_now().isoformat()
        if measuring or time.monotonic() - self.written[number] >= SECONDS:
            self._write(number)
            self.shown.add(number)

    def ended(self, number: int, run_id: str) -> None:
        """Remove the run; the database is written only if it has progress of the entry."""
        run = self.runs.get(number, {}).pop(run_id, None)
        if run is not None and number in self.shown:
            self._write(number)
        if not self.runs.get(number):
            self.runs.pop(number, None)
            self.written.pop(number, None)
            self.shown.discard(number)

    def _write(self, number: int) -> None:
        self.written[number] = time.monotonic()
        change(self.contest, number, progress={"runs": list(self.runs.get(number, {}).values())})


def resumed(index: int | None, before: Sequence[Event]) -> RunProgress:
    """The progress of a run from its events in the ledger."""
    charged = [e.device_seconds_charged for e in before if isinstance(e, Experiment)]
    named = "screening" if index is None else index + 1
    now = utc_now().isoformat()
    return {"run": named, "experiments": len(charged), "charged": round(sum(charged), 3), "began": now, "at": now}


def progress_of(run: RunProgress, now: datetime) -> str:
    """How far a run is, for pages, and how long ago it last reported."""
    name = "Screening run" if run["run"] == "screening" else f"Run {run['run']}"
    tried = many(run["experiments"], "experiment")
    seconds = (now - datetime.fromisoformat(run["at"])).total_seconds() if "at" in run else None
    since = "" if seconds is None else duration(max(1, math.ceil(seconds)))
    if run.get("measuring"):
        return f"{name}: {tried} done; for {since}, its final script has been trained again on fresh seeds"
    said, last = f"{name}: {tried}, {duration(run['charged'])} charged", run.get("last")
    if not last:
        return f"{said}; nothing new for {since}" if since else said
    metric, what = last.get("metric"), last.get("description")
    figure = f" {number(metric, 4)}" if isinstance(metric, int | float) else ""
    ago = f", {since} ago" if since else ""
    return f"{said}; latest{ago}: {last.get('status')}{figure}{f', {what}' if what else ''}"


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
        set_columns(entry, **values)
