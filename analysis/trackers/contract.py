"""What a tracker is given: the runs of a study with their experiments, as steps of a curve, and their figures."""

from __future__ import annotations

import importlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

from analysis.study import query
from programs.errors import UsageError

RUNS = """
SELECT r.run_id, r.name, r.role, r.purpose, r.generation, r.task, r.program_id, r.match_id, r.arm_id, r.stream,
       r.run_seed, r.researcher, r.direction, r.state, r.reason, r.device_seconds_budget, r.device_seconds_charged,
       r.experiments, r.kept, r.claimed_best, r.claimed_gain, r.verified_gain, r.verified_seeds, r.failed_seeds,
       r.tokens, r.usd, r.wall_seconds, r.started_at, r.ended_at
FROM runs AS r ORDER BY r.started_at, r.run_id
"""
STEPS = """
SELECT run_id, number, status, decision, metric, gain, device_seconds_charged, fraction, config, description, diff
FROM experiments ORDER BY run_id, number
"""
SETTINGS = (
    "name",
    "role",
    "purpose",
    "generation",
    "task",
    "program_id",
    "match_id",
    "arm_id",
    "stream",
    "run_seed",
    "researcher",
    "direction",
    "device_seconds_budget",
)
FIGURES = (
    "verified_gain",
    "claimed_gain",
    "claimed_best",
    "device_seconds_charged",
    "experiments",
    "kept",
    "verified_seeds",
    "failed_seeds",
    "tokens",
    "usd",
    "wall_seconds",
)


@dataclass(frozen=True)
class Step:
    """An experiment of a run. ``values``: `metric`, `best_metric` of kept scripts so far, `gain`, `device_seconds` of
    the run so far, `kept` (0 or 1); what an experiment does not have, a failed one its metric, is left out."""

    number: int
    status: str
    decision: str
    description: str
    config: Mapping[str, Any]
    values: Mapping[str, float]


@dataclass(frozen=True)
class TrackedRun:
    """A run. ``settings``: what it was given; ``figures``: what came of it, finite numbers only."""

    run_id: str
    name: str
    state: str
    reason: str
    settings: Mapping[str, str | int | float]
    figures: Mapping[str, float]
    steps: Sequence[Step]

    @property
    def ended(self) -> bool:
        return self.state not in ("running", "interrupted")


@dataclass(frozen=True)
class TrackedStudy:
    """A study: its folder, its name for the tool, and its runs in the order of their starts."""

    folder: Path
    name: str
    runs: Sequence[TrackedRun]


class Tracker(Protocol):
    """Sends runs to a tool. Runs may be open at the same time; steps of a run come in order."""

    where: str  # how to look at what was written, in one line

    def start(self, run: TrackedRun) -> None: ...
    def log(self, run: TrackedRun, steps: Sequence[Step]) -> None: ...
    def end(self, run: TrackedRun) -> None: ...
    def close(self) -> None: ...


@dataclass
class Sender:
    """Sends to a tracker what it has not been sent yet; called again and again while a study runs."""

    tracker: Tracker
    sent: dict[str, int] = field(default_factory=dict)  # run → steps
    done: set[str] = field(default_factory=set)

    def send(self, study: TrackedStudy) -> None:
        for run in study.runs:
            if run.run_id in self.done:
                continue
            if run.run_id not in self.sent:
                self.tracker.start(run)
            before = self.sent.get(run.run_id, 0)
            if run.steps[before:]:
                self.tracker.log(run, run.steps[before:])
            self.sent[run.run_id] = len(run.steps)
            if run.ended:
                self.tracker.end(run)
                self.done.add(run.run_id)


def tracked(folder: Path) -> TrackedStudy:
    """The study as trackers get it. Raises as `analysis.study.query`."""
    steps: dict[str, list[dict[str, Any]]] = {}
    for row in query(folder, STEPS):
        steps.setdefault(row["run_id"], []).append(row)
    runs = [
        TrackedRun(
            row["run_id"],
            f"{row['name'] or row['program_id']} {row['run_id']}",
            row["state"],
            row["reason"] or "",
            {key: row[key] for key in SETTINGS if row[key] is not None},
            {key: float(row[key]) for key in FIGURES if _finite(row[key])},
            list(_steps(steps.get(row["run_id"], ()), row["direction"])),
        )
        for row in query(folder, RUNS)
    ]
    return TrackedStudy(folder, folder.resolve().name, runs)


def _steps(rows: Sequence[Mapping[str, Any]], direction: str) -> Iterator[Step]:
    better = max if direction == "higher" else min
    spent, best = 0.0, None
    for row in rows:
        spent += row["device_seconds_charged"] or 0.0
        kept = row["decision"] == "keep"
        values = {"device_seconds": spent, "kept": float(kept)}
        values |= {key: float(row[key]) for key in ("metric", "gain") if _finite(row[key])}
        if kept and "metric" in values:
            best = values["metric"] if best is None else better(best, values["metric"])
        if best is not None:
            values["best_metric"] = best
        config = row["config"] if isinstance(row["config"], dict) else {}
        yield Step(row["number"], row["status"], row["decision"] or "", row["description"] or "", config, values)


def _finite(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def needed(module: str, extra: str) -> ModuleType:
    """The client's module. Raises UsageError with the command that installs it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise UsageError(
            f"--to {extra} needs the package {module.partition('.')[0]} ({error})",
            hint=f"pip install 'metaloop[{extra}]'",
        ) from None
