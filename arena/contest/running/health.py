"""The state of queue and workers for the host: process, pause, disk."""

from __future__ import annotations

import shlex
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import NotRequired

from pydantic import JsonValue
from sqlalchemy import func, select
from typing_extensions import TypedDict

from analysis.wording import duration, many
from arena.contest.contest import Contest
from arena.contest.plan import measured_power
from arena.contest.ranking.race import leaders_of
from arena.contest.ranking.standing import snapshot
from arena.contest.settings import Phase
from arena.contest.tables import ENDED, Act, ContestEntry
from arena.serving.clock import utc_now
from arena.study.lock import is_taken


class QueueHealth(TypedDict):
    """Times in seconds. ``problems``: sentences; empty if there are none."""

    phase: Phase
    is_made: bool  # the decision
    states: dict[str, int]
    waiting: int
    at_work: bool
    process: JsonValue
    seen_seconds: float | None
    pause: dict[str, JsonValue] | None
    suspects: int
    acts_to_be_told: int
    workers: int
    power: float | None  # `plan.measured_power`, from ten runs beyond each row's first on, and until the race
    problems: NotRequired[list[str]]


def health(contest: Contest) -> QueueHealth:
    with contest.database.read() as connection:
        unrecorded = connection.scalar(select(func.count()).select_from(Act).where(Act.in_ledger.is_(False))) or 0
    entries = snapshot(contest).entries.values()
    states = Counter(entry.state for entry in entries)
    pulse, pause = contest.database.fact("pulse"), contest.database.fact("pause")
    report: QueueHealth = {
        "phase": contest.phase(),
        "is_made": bool(contest.database.fact("announcement")),
        "states": dict(states),
        "waiting": sum(count for state, count in states.items() if state not in ENDED),
        "at_work": is_taken(contest.folder),
        "process": pulse.get("pid"),
        "seen_seconds": _ago(pulse.get("at")),
        "pause": pause or None,
        "suspects": sum(entry.attempts > 0 and entry.state not in ENDED for entry in entries),
        "acts_to_be_told": unrecorded,
        "workers": contest.study.workers,
        "power": power(contest),
    }
    return {**report, "problems": problems(report, contest.folder)}


def queue_words(report: QueueHealth) -> str:
    """What the queue's process does."""
    if report["phase"] == "decided":
        return "no runs are left"
    if report["at_work"]:
        doing = "runs the leaders for the decision" if report["phase"] == "deciding" else "running"
        doing = "publishes the decision" if report["is_made"] else doing
        return f"{doing}, {many(report['workers'], 'worker')}"
    seen = "" if report["seen_seconds"] is None else f", last active {duration(report['seen_seconds'])} ago"
    return f"not running{seen}"


def power(contest: Contest) -> float | None:
    if contest.phase() not in ("open", "closing"):
        return None
    rows = [row for row in snapshot(contest).rows if not row["copy_of"]]
    return measured_power(rows, contest.config.confirm_runs, len(leaders_of(rows, contest.config.most_leaders)))


def left(contest: Contest) -> int:
    """Number of entries with runs left."""
    with contest.database.read() as connection:
        return connection.scalar(select(func.count()).where(ContestEntry.state.not_in(ENDED))) or 0


def problems(report: QueueHealth, folder: Path) -> list[str]:
    messages = []
    if report["phase"] != "decided" and not report["at_work"]:
        serve = f"metaloop contest serve {shlex.quote(str(folder))}"
        messages.append(f"no process runs the queue, so nothing goes on; start it: {serve}")
    if report["pause"]:
        messages.append(f"the queue is paused: {report['pause']['message']} ({report['pause']['hint']})")
    if report["suspects"]:
        messages.append(f"lost runs of {many(report['suspects'], 'entry')} are tried again last, one at a time")
    return messages


def _ago(at: JsonValue) -> float | None:
    return round((utc_now() - datetime.fromisoformat(at)).total_seconds(), 1) if isinstance(at, str) else None
