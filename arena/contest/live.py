"""Live progress of runs, written to the database a few times a second at most."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from arena.contest.contest import Contest
from arena.contest.entries import change
from inner_loop.events import Event, ExperimentEvent

SECONDS = 0.5  # between two writes for one entry


class Live:
    """Tracks the progress of the runs of each entry."""

    def __init__(self, contest: Contest) -> None:
        self.contest = contest
        self.runs: dict[int, dict[str, dict[str, Any]]] = {}
        self.written: dict[int, float] = {}
        self.shown: set[int] = set()  # entries with progress in the database

    def take(
        self, number: int, index: int | None, event: Mapping[str, Any], before: Sequence[Event] = ()
    ) -> None:  # fmt: skip
        """``before``: the run's events in the ledger when it resumed, which the worker does not send again."""
        self.written.setdefault(number, time.monotonic())
        runs = self.runs.setdefault(number, {})
        named = "screening" if index is None else index + 1
        run = runs.setdefault(str(event["run_id"]), {"run": named, **made(before)})
        if event.get("kind") == "experiment":
            run["experiments"] += 1
            run["charged"] = round(run["charged"] + float(event.get("device_seconds_charged") or 0.0), 3)
            run["last"] = {key: event.get(key) for key in ("status", "metric", "description")}
        if time.monotonic() - self.written[number] >= SECONDS:
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


def made(before: Sequence[Event]) -> dict[str, Any]:
    """Number of experiments and charged seconds of a run, from its events in the ledger."""
    charged = [e.device_seconds_charged for e in before if isinstance(e, ExperimentEvent)]
    return {"experiments": len(charged), "charged": round(sum(charged), 3)}
