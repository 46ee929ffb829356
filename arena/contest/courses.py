"""The course of each run, experiment by experiment, kept for the entry pages: the ledger says it once, pages ask often.

The queue's process reads what is new in the ledger's segments and stores a run when it has ended. The table is a cache:
where it lacks a run, as in a contest founded by an earlier version, the next start of the queue puts it there.
"""

from __future__ import annotations

import json
import statistics
import zlib
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import select
from sqlalchemy.orm import undefer

from analysis.ledger import segments
from arena.contest.tables import Course, Entry
from programs.ids import content_id

if TYPE_CHECKING:
    from arena.contest.contest import Contest
    from arena.study import Study

MOST_EXPERIMENTS, MOST_TEXT, MOST_DIFF = 2000, 300, 8000  # of a run that are kept; characters of a text, of a diff
SCREENING, CONTEST, CONFIRMATION, RESERVE = "screening", "contest", "confirmation", "reserve"  # purposes
Row = dict[str, Any]


class Tail:
    """The records of a ledger since the last look, in no order but that within a segment."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._at: dict[Path, int] = {}

    def news(self) -> Iterator[Row]:
        for path in segments(self.folder):
            with path.open("rb") as file:
                file.seek(self._at.get(path, 0))
                for line in file:
                    if not line.endswith(b"\n"):
                        break  # it is being written, or was torn
                    self._at[path] = self._at.get(path, 0) + len(line)
                    yield json.loads(line)


class Courses:
    """Follows the ledger and stores what has ended."""

    def __init__(self, contest: Contest, study: Study) -> None:
        self.contest, self.study = contest, study
        self._tail = Tail(study.folder / "ledger")
        self._owners: dict[str, int] = {}  # arm → number of the entry
        self._entries: dict[str, int] = {}
        self._matches: dict[str, Mapping[str, Any]] = {}
        self._started: dict[str, Row] = {}
        self._ended: dict[str, Row] = {}
        self._experiments: dict[str, dict[str, Row]] = defaultdict(dict)
        self._decisions: dict[str, dict[str, Row]] = defaultdict(dict)
        self._fresh: dict[str, dict[int, float | None]] = defaultdict(dict)
        self._gains: dict[str, dict[int, float]] = defaultdict(dict)
        self._noise: dict[tuple[str, str], dict[int, float]] = defaultdict(dict)
        with contest.database.read() as connection:
            self._stored = set(connection.scalars(select(Course.run_id)).all())

    def follow(self) -> int:
        """Take what is new; returns how many runs were stored."""
        for event in self._tail.news():
            take = getattr(self, f"_take_{event['kind']}", None)
            if take is not None:
                take(event)
        whole = [run_id for run_id in self._ended if self._settled(run_id)]
        stored = len(self._stored)
        self.contest.database.merge([self._course(run_id, stored + i) for i, run_id in enumerate(whole)])
        for run_id in whole:
            self._forget(run_id)
        return len(whole)

    def _settled(self, run_id: str) -> bool:
        if self._started.get(run_id, {}).get("arm_id") not in self._owners:
            return False
        return self._purpose(run_id) == SCREENING or len(self._fresh[run_id]) >= self.study.config.verify_seeds

    def _purpose(self, run_id: str) -> str:
        return str(self._matches[self._started[run_id]["match_id"]]["purpose"])

    def _course(self, run_id: str, place: int) -> Course:
        started = self._started[run_id]
        body = zlib.compress(json.dumps(self._body(run_id), separators=(",", ":")).encode())
        return Course(
            run_id=run_id, number=self._owners[started["arm_id"]], purpose=self._purpose(run_id),
            task=str(started.get("task") or ""), place=place, body=body,
        )  # fmt: skip

    def _forget(self, run_id: str) -> None:
        self._stored.add(run_id)
        for kept in (self._started, self._ended, self._experiments, self._decisions, self._fresh, self._gains):
            kept.pop(run_id, None)

    def _body(self, run_id: str) -> Row:
        started, found = self._started[run_id], self._experiments[run_id]
        config = self._matches.get(started["match_id"], {}).get("config", {})
        rows = [
            experiment_row(event, self._decisions[run_id].get(event["experiment_id"], {}))
            for event in sorted(found.values(), key=lambda event: event["number"])
        ]
        fresh = [value for value in self._fresh[run_id].values() if value is not None]
        noise = list(self._noise[str(started.get("task")), str(started.get("stream"))].values())
        return {
            "direction": config.get("direction"), "metric": config.get("metric"), "unit": config.get("unit"),
            "final": statistics.fmean(fresh) if fresh else None,
            "gain": statistics.fmean(self._gains[run_id].values()) if self._gains[run_id] else None,
            "sd": statistics.stdev(noise) if len(noise) > 1 else None,
            "experiments": rows[:MOST_EXPERIMENTS], "left_out": max(len(rows) - MOST_EXPERIMENTS, 0),
        }  # fmt: skip

    # -- events --------------------------------------------------------------------------------------------------

    def _take_entry(self, event: Row) -> None:
        self._entries[event["entry_id"]] = event["number"]
        for match_id in self._matches:
            self._owners[content_id("a", match_id, event["entry_id"])] = event["number"]

    def _take_match(self, event: Row) -> None:
        if event["match_id"] not in self._matches:
            self._matches[event["match_id"]] = event
            for entry_id, number in self._entries.items():
                self._owners[content_id("a", event["match_id"], entry_id)] = number

    def _take_baseline(self, event: Row) -> None:
        if event["status"] == "ok" and event["metric"] is not None:
            self._noise[event["task"], event["stream"]].setdefault(event["seed"], event["metric"])

    def _take_run_started(self, event: Row) -> None:
        if event["run_id"] not in self._stored:
            self._started.setdefault(event["run_id"], event)

    def _take_run_ended(self, event: Row) -> None:
        if event["run_id"] not in self._stored and event.get("state") == "finished":
            self._ended[event["run_id"]] = event

    def _take_experiment(self, event: Row) -> None:
        if event["run_id"] not in self._stored:
            self._experiments[event["run_id"]].setdefault(event["experiment_id"], event)

    def _take_decision(self, event: Row) -> None:
        if event["run_id"] not in self._stored:
            self._decisions[event["run_id"]][event["experiment_id"]] = event

    def _take_verification(self, event: Row) -> None:
        if event["run_id"] not in self._stored:
            metric = event["metric"] if event["status"] in ("ok", "baseline") else None
            self._fresh[event["run_id"]].setdefault(event["seed"], metric)
            self._gains[event["run_id"]].setdefault(event["seed"], event["gain"])


def experiment_row(event: Mapping[str, Any], decision: Mapping[str, Any]) -> Row:
    """What a page tells of an experiment."""
    first = event["number"] == 0
    return {
        "number": event["number"], "status": event["status"], "metric": event["metric"],
        "fraction": event.get("fraction"), "seconds": event.get("device_seconds_charged"),
        "decision": decision.get("decision") or ("baseline" if first else ""),
        "reason": str(decision.get("reason") or event.get("reason") or "")[:MOST_TEXT],
        "description": str(event.get("description") or "")[:MOST_TEXT],
        "directive_ids": event.get("directive_ids") or [], "diff": str(event.get("diff") or "")[:MOST_DIFF],
    }  # fmt: skip


def courses_of(contest: Contest, number: int, purposes: tuple[str, ...]) -> list[Row]:
    """The runs of an entry for these purposes. One of the contest has the number that it has among the entry's results,
    its place in the list of seeds, whichever ended first; others are numbered among those of their purpose and task."""
    query = select(Course).options(undefer(Course.body)).where(Course.number == number, Course.purpose.in_(purposes))
    with contest.database.read() as connection:
        found = connection.scalars(query.order_by(Course.place, Course.run_id)).all()
        results = connection.scalar(select(Entry.results).where(Entry.number == number)) or {}
    places = {told["run_id"]: int(run) for run, told in results.items()}
    counted: dict[tuple[str, str], int] = defaultdict(int)
    out = []
    for course in sorted(found, key=lambda c: (purposes.index(c.purpose), places.get(c.run_id, len(places) + 1))):
        counted[course.purpose, course.task] += 1
        run = places.get(course.run_id, counted[course.purpose, course.task])
        out.append({"run_id": course.run_id, "purpose": course.purpose, "task": course.task, "run": run, **course.told})
    return out
