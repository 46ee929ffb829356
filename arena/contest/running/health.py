"""The state of queue and workers, for the host."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from datetime import datetime

from pydantic import JsonValue
from typing_extensions import TypedDict

from analysis.wording import duration, many
from arena.contest.contest import Contest
from arena.contest.plan import measured_power
from arena.contest.ranking.race import leaders_of
from arena.contest.ranking.standing import snapshot
from arena.contest.settings import Phase
from arena.contest.tables import ENDED
from arena.serving.clock import utc_now
from arena.study.lock import is_taken


class QueueHealth(TypedDict):
    """``at_work``: whether a process runs the queue; ``queue``: what it does; ``power``: `plan.measured_power`, from
    ten runs beyond each row's first on, and until the race; ``problems``: sentences, none if all is well."""

    at_work: bool
    queue: str
    pause: dict[str, JsonValue] | None
    power: float | None
    problems: list[str]


def health(contest: Contest) -> QueueHealth:
    """The state of the queue now."""
    phase, at_work, pause = contest.phase(), is_taken(contest.folder), contest.database.fact("pause")
    entries = snapshot(contest).entries.values()
    suspects = sum(entry.attempts > 0 and entry.state not in ENDED for entry in entries)
    problems = []
    if phase != "decided" and not at_work:
        serve = f"metaloop contest serve {shlex.quote(str(contest.folder))}"
        problems.append(f"no process runs the queue, so nothing goes on; start it: {serve}")
    if pause:
        problems.append(f"the queue is paused: {pause['message']} ({pause['hint']})")
    if suspects:
        problems.append(f"lost runs of {many(suspects, 'entry')} are tried again last, one at a time")
    power = measured_power_of(contest) if phase in ("open", "closing") else None
    queue = queue_words(contest, phase, at_work)
    return {"at_work": at_work, "queue": queue, "pause": pause or None, "power": power, "problems": problems}


def queue_words(contest: Contest, phase: Phase, at_work: bool) -> str:
    """What the queue's process does."""
    if phase == "decided":
        return "no runs are left"
    if not at_work:
        return f"not running{_last_active(contest.database.fact('pulse'))}"
    doing = "runs the leaders for the decision" if phase == "deciding" else "running"
    doing = "publishes the decision" if contest.database.fact("announcement") else doing
    return f"{doing}, {many(contest.study.workers, 'worker')}"


def _last_active(pulse: Mapping[str, JsonValue]) -> str:
    if not isinstance(at := pulse.get("at"), str):
        return ""
    return f", last active {duration((utc_now() - datetime.fromisoformat(at)).total_seconds())} ago"


def measured_power_of(contest: Contest) -> float | None:
    """`plan.measured_power` of the board."""
    rows = [row for row in snapshot(contest).rows if not row["copy_of"]]
    return measured_power(rows, contest.config.confirm_runs, len(leaders_of(rows, contest.config.most_leaders)))
