"""Time estimates: wall seconds of a run, progress of the decision."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, TypedDict, cast

from pydantic import JsonValue

from arena.contest.stored import RacePlace

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
    """``done`` confirming runs of at most ``wanted``, ``seconds`` until the last of these; ``race``: how each leader
    stands; ``looks``: who left at each look so far, in lines. Empty while nothing is being decided."""

    done: int
    wanted: int
    seconds: float
    race: list[RacePlace]
    looks: list[str]


class Deciding:
    """Follows the confirming runs as they end: a ``Progress`` that passes events on and stores ``now()`` for the pages,
    the state of the runs on all tasks."""

    def __init__(self, contest: Contest, progress: Progress, now: Callable[[], ConfirmingRuns]) -> None:
        self.contest, self.progress, self.now = contest, progress, now
        self.told = len(self._stored()["looks"])  # looks

    def __call__(self, event: Mapping[str, JsonValue]) -> None:
        if event.get("kind") == "run_ended" and event.get("state") == "finished":
            now = self._stored()
            done, wanted = now["done"], now["wanted"]
            lines = now["looks"][self.told :]
            self.told = len(now["looks"])
            if done == wanted or done % math.ceil(wanted / LINES) == 0:
                lines = [f"{done} of at most {wanted} confirming runs", *lines]
            for line in lines:
                self.progress({"kind": "note", "text": line})
        self.progress(event)

    def _stored(self) -> ConfirmingRuns:
        now = self.now()
        self.contest.database.set_fact("deciding", **now)
        return now


def deciding(contest: Contest) -> ConfirmingRuns:
    counts = cast(ConfirmingRuns, contest.database.fact("deciding") if contest.phase() == "deciding" else {})
    if not counts:
        return {}
    left = max(0, counts["wanted"] - counts["done"])
    return {**counts, "seconds": round(-(-left // contest.study.workers) * run_seconds(contest)[0], 1)}


def in_race(contest: Contest) -> dict[int, str]:
    """Number → how a leader stands in the race, while it goes on."""
    return {place["number"]: place["said"] for place in deciding(contest).get("race", ())}
