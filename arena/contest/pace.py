"""Time estimates: wall seconds of a run, progress of the decision."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, TypedDict, cast

from pydantic import JsonValue

if TYPE_CHECKING:
    from arena.contest.contest import Contest
    from arena.executor import Progress

REMEMBERED = 20  # runs at full budget
LINES = 12  # progress lines of a decision in the log


def record_run_time(contest: Contest, seconds: float) -> None:
    """Store the wall time of a run, verification included."""
    last = _latest(contest)
    contest.database.set_fact("pace", seconds=[*last, round(seconds, 2)][-REMEMBERED:])


def run_seconds(contest: Contest) -> tuple[float, bool]:
    """Wall seconds of a run with its verification; True if it is the median of the latest runs, False if it comes from
    the budgets, which a busy machine exceeds."""
    last = _latest(contest)
    if last:
        return statistics.median(last), True
    tasks = contest.tasks
    measuring = contest.study.verify_seeds * sum(task.cost_seconds for task in tasks) / len(tasks)
    return contest.costs.run + measuring, False


def _latest(contest: Contest) -> list[float]:
    return cast(list[float], contest.database.fact("pace").get("seconds", []))


class ConfirmingRuns(TypedDict, total=False):
    """``done`` confirming runs of at most ``wanted``, ``seconds`` until the last of these; empty while nothing is
    being decided."""

    done: int
    wanted: int
    seconds: float


class Deciding:
    """Counts the confirming runs as they end: a ``Progress`` that passes events on.

    ``most()``: the runs on all tasks if nobody leaves the race any more; ``done``: those that have ended.
    """

    def __init__(self, contest: Contest, progress: Progress, most: Callable[[], int], done: int) -> None:
        self.contest, self.progress, self.most, self.done = contest, progress, most, done
        self.wanted = most()
        self._tell()

    def __call__(self, event: Mapping[str, JsonValue]) -> None:
        if event.get("kind") == "run_ended" and event.get("state") == "finished":
            self.done += 1
            self.wanted = max(self.most(), self.done)
            self._tell()
            if self.done == self.wanted or self.done % math.ceil(self.wanted / LINES) == 0:
                self.progress({"kind": "note", "text": f"{self.done} of at most {self.wanted} confirming runs"})
        self.progress(event)

    def _tell(self) -> None:
        self.contest.database.set_fact("deciding", done=self.done, wanted=self.wanted)


def deciding(contest: Contest) -> ConfirmingRuns:
    counts = cast(ConfirmingRuns, contest.database.fact("deciding") if contest.phase() == "deciding" else {})
    if not counts:
        return {}
    left = max(0, counts["wanted"] - counts["done"])
    return {**counts, "seconds": round(-(-left // contest.study.workers) * run_seconds(contest)[0], 1)}
