"""The experiments of each run, cached for the entry pages, which are read far more often than the ledger is written.

The queue's process stores a run when it has ended. The table is a cache: a run that is missing is stored when the queue
starts.
"""

from __future__ import annotations

import json
import zlib
from collections import defaultdict
from collections.abc import Iterable
from typing import TYPE_CHECKING

from sqlalchemy import select
from sqlalchemy.orm import undefer

from analysis.ledger.run_state import RunState
from arena.contest.stored import CourseContent, ExperimentColumns
from arena.contest.tables import ContestEntry, Course
from inner_loop.events import DecisionEvent, Experiment, RunStartedEvent
from programs.common.ids import content_id
from programs.common.text import shortened

if TYPE_CHECKING:
    from arena.contest.contest import Contest
    from arena.study.study import Study

MOST_EXPERIMENTS, MOST_TEXT, MOST_DIFF = 2000, 300, 8000  # stored experiments of a run; characters of a text, of a diff
SCREENING, CONTEST, CONFIRMATION = "screening", "contest", "confirmation"  # purposes


class Courses:
    """Stores runs that have ended."""

    def __init__(self, contest: Contest, study: Study) -> None:
        self.contest, self.study = contest, study
        self._owners: dict[str, int] = {}  # arm → number of the entry
        self._named = (0, 0)  # numbers of matches and entries in it
        with contest.database.read() as connection:
            self._stored = set(connection.scalars(select(Course.run_id)).all())
        self._forget(self._stored)

    def follow(self) -> int:
        """Read what the workers have written, and store the runs that have ended since; returns how many."""
        self.study.follow()
        self._name_owners()
        runs = self.study.state.runs
        whole = [run_id for run_id, run in runs.items() if run_id not in self._stored and self._settled(run)]
        stored = len(self._stored)
        self.contest.database.merge([self._course(run_id, stored + i) for i, run_id in enumerate(whole)])
        self._stored.update(whole)
        self._forget(whole)
        return len(whole)

    def _forget(self, run_ids: Iterable[str]) -> None:
        """Stored experiments leave the memory."""
        for run_id in self.study.state.runs.keys() & run_ids:
            self.study.state.runs[run_id].experiments.clear()
            self.study.state.runs[run_id].decisions.clear()

    def _name_owners(self) -> None:
        """Add the arms of new entries; of all entries if there is a new match."""
        matches, entries = list(self.study.state.matches), list(self.study.state.entries.values())
        for entry in entries if len(matches) > self._named[0] else entries[self._named[1] :]:
            for match_id in matches:
                self._owners[content_id("a", match_id, entry.entry_id)] = entry.number
        self._named = len(matches), len(entries)

    def _settled(self, run: RunState) -> bool:
        if run.started is None or run.started.arm_id not in self._owners:
            return False
        if run.ended is None or run.ended.state != "finished":
            return False
        screening = self.study.state.matches[run.started.match_id].purpose == SCREENING
        return screening or len(run.verifications) >= self.study.config.seeds_on(run.started.stream)

    def _course(self, run_id: str, stored_order: int) -> Course:
        run = self.study.state.runs[run_id]
        assert run.started is not None
        body = zlib.compress(json.dumps(self._body(run, run.started), separators=(",", ":")).encode())
        return Course(
            run_id=run_id,
            number=self._owners[run.started.arm_id],
            purpose=self.study.state.matches[run.started.match_id].purpose,
            task=run.started.task,
            stored_order=stored_order,
            body=body,
        )

    def _body(self, run: RunState, started: RunStartedEvent) -> CourseContent:
        config = self.study.state.matches[started.match_id].config
        rows = [
            experiment_row(event, run.decisions.get(event.experiment_id))
            for event in sorted(run.experiments.values(), key=lambda event: event.number)
        ]
        return {
            "direction": config.direction,
            "metric": config.metric,
            "unit": config.unit,
            "gain": run.gain,
            "experiments": rows[:MOST_EXPERIMENTS],
            "left_out": max(len(rows) - MOST_EXPERIMENTS, 0),
        }


def experiment_row(event: Experiment, decision: DecisionEvent | None) -> ExperimentColumns:
    """What a page shows of an experiment."""
    return {
        "number": event.number,
        "parent": event.parent_number,
        "status": event.status,
        "metric": event.metric,
        "fraction": event.fraction,
        "seconds": event.device_seconds_charged,
        "decision": (decision.decision if decision else "") or ("" if event.number else "baseline"),
        "reason": shortened((decision.reason if decision else "") or event.reason, MOST_TEXT),
        "description": shortened(event.description, MOST_TEXT),
        "directive_ids": list(event.directive_ids),
        "diff": event.diff[:MOST_DIFF],
    }


class EntryRun(CourseContent):
    """A run of an entry that has ended; ``run``: its number."""

    run_id: str
    purpose: str
    task: str
    run: int


def courses_of(contest: Contest, number: int, purposes: tuple[str, ...]) -> list[EntryRun]:
    """The runs of an entry for these purposes. A run of the contest has the number it has in the entry's results: its
    position in the list of seeds. Other runs are numbered within their purpose and task."""
    query = select(Course).options(undefer(Course.body)).where(Course.number == number, Course.purpose.in_(purposes))
    with contest.database.read() as connection:
        courses = connection.scalars(query.order_by(Course.stored_order, Course.run_id)).all()
        results = connection.scalar(select(ContestEntry.results).where(ContestEntry.number == number)) or {}
    run_numbers = {result["run_id"]: int(run) for run, result in results.items()}
    counted: dict[tuple[str, str], int] = defaultdict(int)
    out: list[EntryRun] = []
    for course in sorted(
        courses, key=lambda c: (purposes.index(c.purpose), run_numbers.get(c.run_id, len(run_numbers) + 1))
    ):
        counted[course.purpose, course.task] += 1
        run = run_numbers.get(course.run_id, counted[course.purpose, course.task])
        out.append(
            {
                "run_id": course.run_id,
                "purpose": course.purpose,
                "task": course.task,
                "run": run,
                **course.content,
            }
        )
    return out
