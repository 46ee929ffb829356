"""The queue of a contest: which run starts next, and what its result makes of its entry.

The ledger contains the runs, the database the entries with their states. If a kill came between two writes, the states
follow the ledger at the next start.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from pydantic import JsonValue
from sqlalchemy import select
from sqlalchemy.orm import undefer

from analysis.ledger.run_state import RunState
from arena.arms import Arm, TaskMatch
from arena.contest.contest import Contest
from arena.contest.entering import acts
from arena.contest.entering.entries import change
from arena.contest.running import arms
from arena.contest.running.pause import Pause
from arena.contest.running.queue import ActiveRun, Waiting, in_line, next_of
from arena.contest.tables import ContestEntry
from arena.measuring import measure_baseline, run_gain, run_job, settle, splits_of_runs
from arena.serving.database import BEAT_SECONDS
from arena.study.study import Study
from arena.study.task_study import tasks_of
from arena.work.executor import Executor
from arena.work.jobs import JobResult, RunJob
from inner_loop.events import RunEndedEvent
from programs.common.ids import content_id

Say = Callable[[str], None]
MOST_ATTEMPTS = 3  # lost runs of an entry before the host gives it up


@dataclass(frozen=True)
class RunInProgress:
    """A run that a worker has. ``is_suspect``: runs of its entry were lost, so that it runs alone."""

    number: int  # of its entry
    job: RunJob
    is_screening: bool
    is_suspect: bool
    began: float = field(default_factory=time.monotonic)


class ContestQueue(Iterator[RunJob]):
    """The runs of the entries as an iterator of jobs: the executor takes the next one whenever a worker is free. It
    stops when no entry waits, and may yield again later, because entries arrive while others run.

    ``say`` writes to the host's log, ``count`` lines that only say how far the work is.
    """

    def __init__(self, contest: Contest, study: Study, say: Say, count: Say | None = None) -> None:
        self.contest, self.study, self.say, self.count = contest, study, say, count or say
        self.wanted = contest.config.runs
        self.on = tasks_of(study)[0]
        self.board, self.screening = (
            TaskMatch(self.on, arms.match_of(self.on, kind)) for kind in (arms.BOARD, arms.SCREENING)
        )
        self.arms: dict[int, tuple[Arm, Arm]] = {}  # entry's number → its arms of the screening and of the board
        self.numbers: dict[str, int] = {}  # arm's id → its entry's number
        self.runs_done: Counter[int] = Counter()  # by entry's number, on the board
        self.in_progress: dict[str, RunInProgress] = {}
        self.pause = Pause(contest, say)
        self._beaten = float("-inf")

    # -- which run is next -----------------------------------------------------------------------------------------

    def waiting(self) -> tuple[list[Waiting], dict[int, float]]:
        """The entries with runs left, and each person's device-seconds so far."""
        active = [ActiveRun(run.number, run.is_screening) for run in self.in_progress.values()]
        columns = (ContestEntry.number, ContestEntry.person_id, ContestEntry.state, ContestEntry.attempts)
        with self.contest.database.read() as connection:
            entries = connection.execute(select(*columns).order_by(ContestEntry.number)).all()
        return in_line(entries, self.runs_done, self.wanted, self.contest.costs, active)

    def __next__(self) -> RunJob:
        """The next job; none if no entry waits, a suspect has to run alone, or the host has just declared it void."""
        waiting = next_of(*self.waiting())
        is_alone = any(run.is_suspect for run in self.in_progress.values())
        if waiting is None or is_alone or (waiting.suspect and self.in_progress):
            raise StopIteration
        screening, playing = self.arms_of(waiting.number)
        if waiting.screening:
            job = arms.screening_job(self.screening, screening, self.contest.costs.screen)
        else:
            job = self._next_run(playing)
        if not change(self.contest, waiting.number, state="screening" if waiting.screening else "running"):
            raise StopIteration
        return job

    def _next_run(self, arm: Arm) -> RunJob:
        """The first run of the seed lists that is neither measured nor in progress."""
        run_ids = [content_id("r", arm.arm_id, str(index)) for index in range(self.wanted)]
        free = (i for i, name in enumerate(run_ids) if name not in self.in_progress and run_gain(self.on, name) is None)
        return run_job(self.on, self.board.match, arm, next(free))

    def arms_of(self, number: int) -> tuple[Arm, Arm]:
        """The entry's arms, recorded in the ledger before its first run."""
        if number not in self.arms:
            with self.contest.database.read() as connection:
                entry = connection.get_one(ContestEntry, number, options=[undefer(ContestEntry.raw)])
                same = select(ContestEntry.number).where(
                    ContestEntry.program_id == entry.program_id, ContestEntry.number < number
                )
                twin = len(connection.scalars(same).all())
            new_arms = [(match, arms.arm_of(match.match, entry, twin)) for match in (self.screening, self.board)]
            if entry.entry_id not in self.study.state.entries:
                arms.admit(self.study, entry, new_arms)
            self.arms[number] = new_arms[0][1], new_arms[1][1]
            self.numbers |= {arm.arm_id: number for arm in self.arms[number]}
        return self.arms[number]

    def start(self, job: RunJob) -> bool:
        """A worker takes a job, of the queue or of the race; whether it does: none of an entry that has become void."""
        number = self.numbers[job.arm_id]
        with self.contest.database.read() as connection:
            entry = connection.get_one(ContestEntry, number)
        if not entry.void:
            is_screening = job.match_id == self.screening.match.match_id
            self.in_progress[job.run_id] = RunInProgress(number, job, is_screening, entry.attempts > 0)
            self.show_runs()
        return not entry.void

    # -- results -----------------------------------------------------------------------------------------------------

    def run_entries(self, executor: Executor) -> None:
        """Run all waiting entries, including those that arrive meanwhile; returns when none is left."""
        self.record_acts()
        splits = splits_of_runs(self.on, self.board.match, self.wanted)
        measure_baseline(self.on, executor, self.board.match.stream, self.board.match.match_id, splits)
        for result in executor.run(self):
            self._settle(self.in_progress[result.job_id], result)

    def _settle(self, run: RunInProgress, result: JobResult) -> None:
        if result.run is None:  # it was cut short, and resumes later
            return
        if run.is_screening:
            self._screened(run.number, result.run)
            return
        settle(self.on, run.job, self.arms_of(run.number)[1], result)
        self.runs_done[run.number] += run_gain(self.on, run.job.run_id) is not None
        self._reached(run.number)
        self.count(f"entry {run.number}: {self.runs_done[run.number]} of {self.wanted} runs")

    def _reached(self, number: int) -> None:
        """Store the state that an entry has reached by its measured runs."""
        is_done = self.runs_done[number] >= self.wanted
        change(self.contest, number, state="verified" if is_done else "running")
        if is_done:
            self.arms.pop(number, None)

    def _screened(self, number: int, run: RunEndedEvent) -> None:
        if run.baseline_metric is None or run.final_metric is None:
            why = run.reason or "no experiment of the screening run succeeded"
            change(self.contest, number, state="failed", failure=why)
            self.say(f"entry {number} failed: {why}")
        else:
            change(self.contest, number, state="waiting")

    def take_over(self) -> None:
        """Count the runs that the ledger has, and bring the states of their entries up to date, before any job is
        given."""
        with self.contest.database.read() as connection:
            rows = connection.execute(select(ContestEntry.number, ContestEntry.entry_id, ContestEntry.state)).all()
        by_arm = {content_id("a", self.board.match.match_id, entry_id): number for number, entry_id, _ in rows}
        self.runs_done.clear()
        for run in self.study.state.runs.values():
            if run.started is None:
                continue
            if run.started.arm_id in by_arm:
                self.runs_done[by_arm[run.started.arm_id]] += run.gain is not None
            if len(run.verifications) >= self.study.config.seeds_on(run.started.stream):
                forget_experiments(run)
        for number, entry_id, state in rows:
            screening_arm = content_id("a", self.screening.match.match_id, entry_id)
            screening = self.study.state.run(content_id("r", screening_arm, "0")).ended
            if state == "screening" and screening is not None and screening.state == "finished":
                self._screened(number, screening)
            elif state in ("waiting", "running", "void") and self.runs_done[number]:
                self._reached(number)

    def end_runs(self, why: str) -> None:
        """The runs in progress ended without a result, for a reason that other entries do not share; they resume from
        the ledger. An entry that loses one too often is given up; a control never is: nothing is decided without."""
        numbers = dict.fromkeys(run.number for run in self.in_progress.values())
        self.in_progress.clear()
        for number in numbers:
            with self.contest.database.read() as connection:
                entry = connection.get_one(ContestEntry, number)
            attempts = entry.attempts + 1
            change(self.contest, number, attempts=attempts)
            if attempts >= MOST_ATTEMPTS and entry.person_id is not None:
                self._give_up(number, f"the host could not run it in {attempts} attempts; last error: {why}")
            self.say(f"entry {number}: a run was lost: {why}")

    def _give_up(self, number: int, reason: str) -> None:
        if self.contest.phase() == "deciding":
            left_out = self.contest.state().get("left_out") or {}
            self.contest.state(left_out={**left_out, str(number): reason})
        else:
            change(self.contest, number, void=reason)
        acts.record_given_up(self.contest, self.study, number, reason)

    # -- what the pages and the ledger are told ----------------------------------------------------------------------

    def record_acts(self) -> bool:
        """Record new host actions in the ledger, and return whether there were any."""
        return acts.record_acts(self.contest, self.study) > 0

    def look_around(self) -> None:
        """The periodic work: store a heartbeat, and once a day the ledger's head, for the pages; record host acts."""
        self._beaten = time.monotonic()
        self.contest.publish_head(self.study, daily=True)
        self.show_runs()
        self.record_acts()

    def show_runs(self) -> None:
        """Store time, process and the runs in progress for the pages; ``numbers``: of their entries."""
        numbers = [run.number for run in self.in_progress.values()]
        self.contest.database.heartbeat(in_hand=len(numbers), numbers=numbers)

    def progress(self, event: Mapping[str, JsonValue]) -> None:
        """Handle an event of a worker."""
        if time.monotonic() - self._beaten > BEAT_SECONDS:
            self.look_around()
        if event.get("kind") == "note":
            self.say(str(event.get("text")))
        elif event.get("kind") == "progress":
            self.count(str(event.get("text")))


def forget_experiments(run: RunState) -> None:
    """A run that has its result is not resumed: its experiments leave the memory."""
    run.experiments.clear()
    run.decisions.clear()
