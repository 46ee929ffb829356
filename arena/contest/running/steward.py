"""The steward: gives the queue's runs to the arena's workers and stores the results.

One process, which holds the study's lock. The ledger contains the finished runs, the database the queue. If a kill came
between two writes, the database is corrected from the ledger at the next start.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TypedDict

from pydantic import JsonValue
from sqlalchemy import select
from sqlalchemy.orm import undefer

from analysis.ledger.events import MatchEndedEvent
from arena.arms import Arm, TaskMatch
from arena.contest.contest import Contest
from arena.contest.entering import acts
from arena.contest.entering.entries import change
from arena.contest.ranking import board, decision
from arena.contest.running import arms, pace
from arena.contest.running.courses import Courses
from arena.contest.running.live import Live, run_result, store_result
from arena.contest.running.pause import Pause, is_the_hosts
from arena.contest.running.queue import ActiveRun, Waiting, in_line, next_of
from arena.contest.tables import ContestEntry
from arena.match import announce
from arena.measuring import measure_baseline, run_gain, run_job, settle, splits_of_runs
from arena.serving.database import BEAT_SECONDS
from arena.study.study import Study
from arena.study.task_study import tasks_of
from arena.work.executor import Executor
from arena.work.jobs import ErrorRecord, JobResult, RunJob
from inner_loop.events import RunEndedEvent
from programs.common.ids import content_id

Say = Callable[[str], None]
LINE_SECONDS = 60.0  # between two lines of progress in a log, at least
MOST_ATTEMPTS = 3  # lost runs of an entry before the host gives it up


@dataclass(frozen=True)
class InHand:
    """A job that a worker is running. ``index`` None: the screening run."""

    number: int
    person: int
    index: int | None
    job: RunJob
    suspect: bool = False
    final: bool = False  # of the race of the leaders
    began: float = field(default_factory=time.monotonic)


class RunCounts(TypedDict):
    """The columns of an entry that follow from its measured runs in the ledger."""

    runs_done: int
    attempts: int
    state: str


class Steward:
    """Runs a contest's queue. ``say`` writes to the host's log, ``count`` what only says how far the work is."""

    def __init__(self, contest: Contest, study: Study, say: Say, count: Say | None = None) -> None:
        self.contest, self.study, self.say, self.count = contest, study, say, count or say
        self.costs = contest.costs
        self.wanted = contest.config.runs
        self.on = tasks_of(study)[0]
        self.board, self.screening = (
            TaskMatch(self.on, arms.match_of(self.on, k)) for k in (arms.BOARD, arms.SCREENING)
        )
        self.arms: dict[int, tuple[Arm, Arm]] = {}  # entry's number → its arms of the screening and of the board
        self.in_hand: dict[str, InHand] = {}
        self.problems: list[tuple[InHand, ErrorRecord]] = []  # why runs stopped, until the workers have ended
        self.pause = Pause(contest, say)
        self.live = Live(contest)
        self.final: decision.FinalRace | None = None  # once it has begun
        self._looks, self._spoke = 0, time.monotonic()  # that were told, and when
        self.shown = board.BoardUpdater(contest, study)
        self.courses = Courses(contest, study)
        self._beaten = float("-inf")

    # -- the queue -----------------------------------------------------------------------------------------------

    def waiting(self) -> tuple[list[Waiting], dict[int, float]]:
        """The entries with runs left, and each person's device-seconds so far."""
        held = [ActiveRun(hand.number, hand.person, hand.index is None) for hand in self.in_hand.values()]
        with self.contest.database.read() as connection:
            return in_line(connection, self.wanted, self.costs, held)

    def next_job(self) -> RunJob | None:
        """The next job; None if no entry waits or a suspect has to run alone."""
        if self.problems or any(hand.suspect for hand in self.in_hand.values()):
            return None
        if self.final is not None:
            return self._next_confirming(self.final)
        waiting = next_of(*self.waiting())
        if waiting is None or (waiting.suspect and self.in_hand):
            return None
        return self._begin(waiting)

    def decide(self) -> None:
        """Begin or resume the race of the leaders; the other matches are over."""
        self.shown.refresh(force=True)
        for each in (self.screening, self.board):
            end(self.study, each.match.match_id)
        self.count("deciding: the leaders run on fresh seeds and data")
        self.final = decision.begin(self.contest, self.study)
        announce(self.on, self.final.match.match, lambda _: None)
        self._looks = len(self._told_race(self.final)["looks"])

    def _next_confirming(self, race: decision.FinalRace) -> RunJob | None:
        """The next run of the race; those of an entry that has lost runs come last, and alone."""
        held = {(hand.number, hand.index) for hand in self.in_hand.values()}
        with self.contest.database.read() as connection:
            query = select(ContestEntry.number).where(ContestEntry.attempts > 0)
            suspects = set(connection.scalars(query))
        wanted = sorted((run for run in race.wanted() if run not in held), key=lambda run: run[0] in suspects)
        if not wanted or (wanted[0][0] in suspects and self.in_hand):
            return None
        number, index = wanted[0]
        job = run_job(self.on, race.match.match, race.arms[number], index)
        self.in_hand[job.run_id] = InHand(number, 0, index, job, number in suspects, final=True)
        self._report()
        return job

    def _told_race(self, race: decision.FinalRace) -> pace.ConfirmingRuns:
        now = race.now()
        self.contest.database.set_fact("deciding", **now)
        return now

    def _confirmed(self, race: decision.FinalRace) -> None:
        """A run of the race has ended: store how it stands; log each look, else a line a minute."""
        race.ended += 1
        looks = self._told_race(race)["looks"]
        if len(looks) > self._looks or time.monotonic() - self._spoke > LINE_SECONDS:
            for line in (*looks[self._looks :], pace.progress_line(pace.deciding(self.contest))):
                self.count(line)
            self._looks, self._spoke = len(looks), time.monotonic()

    def _begin(self, waiting: Waiting) -> RunJob | None:
        number = waiting.number
        screening, playing = self._arms(number)
        if waiting.screening:
            index, state = None, "screening"
            job = arms.screening_job(self.screening, screening, self.costs.screen)
        elif (index := self._next_index(number)) is None:
            counted = self._restore(number)
            self.say(f"{f'entry {number}'}: the ledger has {counted['runs_done']} of its runs, the database fewer")
            return None
        else:
            state = "running"
            job = run_job(self.on, self.board.match, playing, index)
        if not change(self.contest, number, state=state):  # the host has just declared the entry void
            return None
        self.in_hand[job.run_id] = InHand(number, waiting.person, index, job, waiting.suspect)
        self._report()
        return job

    def _next_index(self, number: int) -> int | None:
        """The first run of the seed lists that is neither measured nor in progress; None if the ledger has them all."""
        taken = {hand.index for hand in self.in_hand.values() if hand.number == number}
        left = (i for i in range(self.wanted) if i not in taken and not self._measured(number, i))
        return next(left, None)

    def _measured(self, number: int, index: int) -> bool:
        return run_gain(self.on, self._run_id(number, index)) is not None

    def _run_id(self, number: int, index: int) -> str:
        return content_id("r", self._arms(number)[1].arm_id, str(index))

    def _done(self, number: int) -> int:
        """Number of measured runs of the entry in the ledger."""
        return sum(self._measured(number, i) for i in range(self.wanted))

    def _arms(self, number: int) -> tuple[Arm, Arm]:
        """The entry's arms, recorded in the ledger before its first run."""
        if number not in self.arms:
            with self.contest.database.read() as connection:
                entry = connection.get_one(ContestEntry, number, options=[undefer(ContestEntry.raw)])
                same = select(ContestEntry.number).where(
                    ContestEntry.program_id == entry.program_id, ContestEntry.number < number
                )
                twin = len(connection.scalars(same).all())
            new_arms = [(each, arms.arm_of(each.match, entry, twin)) for each in (self.screening, self.board)]
            if entry.entry_id not in self.study.state.entries:
                arms.admit(self.study, entry, new_arms)
            self.arms[number] = new_arms[0][1], new_arms[1][1]
        return self.arms[number]

    # -- results -----------------------------------------------------------------------------------------------

    def tend(self, executor: Executor) -> None:
        """Run all waiting entries, including those that arrive meanwhile; returns when none is left."""
        self.record_acts()
        match = (self.final.match if self.final else self.board).match
        splits = splits_of_runs(self.on, match, self.contest.config.confirm_runs if self.final else self.wanted)
        measure_baseline(self.on, executor, match.stream, match.match_id, splits)
        for result in executor.run(Feed(self)):
            self._take(result)
        self._look_at_problems()
        self.shown.refresh(force=False)

    def _look_at_problems(self) -> None:
        """A problem that every entry would meet pauses the queue; any other counts as a lost run of its entry."""
        problems, self.problems = self.problems, []
        ours = next((problem for _, problem in problems if is_the_hosts(self.study, problem)), None)
        if ours is not None:
            self.pause.begin(ours)
            return
        for hand, problem in problems:
            self.lost(hand, str(problem.get("message")))

    def record_acts(self) -> bool:
        """Record new host actions in the ledger, and return whether there were any; the board is then out of date."""
        acted = acts.record_acts(self.contest, self.study) > 0
        self.shown.stale |= acted
        return acted

    def _take(self, result: JobResult) -> None:
        hand = self.in_hand.pop(result.job_id)
        self._report()
        self.live.ended(hand.number, result.job_id)
        self.record_acts()
        if result.state != "finished":
            if result.problem is not None:  # attributed when the other runs have ended
                self.problems.append((hand, result.problem))
            return
        self.pause.over()
        assert result.run is not None
        if hand.index is None:
            self._screened(hand.number, result.run)
            return
        if self.final is not None:
            settle(self.on, hand.job, self.final.arms[hand.number], result)
            change(self.contest, hand.number, attempts=0)
            self._confirmed(self.final)
            self.courses.follow()
            return
        pace.record_run_time(self.contest, time.monotonic() - hand.began)
        settle(self.on, hand.job, self._arms(hand.number)[1], result)
        result_row, counted = run_result(self.on, hand.job.run_id, result.run), self._counted(hand.number)
        store_result(self.contest, hand.number, hand.index + 1, result_row, **counted)
        self._told(hand.number, counted)
        self.shown.refresh(
            force=counted["state"] == "verified" and self.shown.is_quick
        )  # else the entry's page is ahead
        self.courses.follow()

    def _screened(self, number: int, run: RunEndedEvent) -> None:
        if run.baseline_metric is None or run.final_metric is None:
            why = run.reason or "no experiment of the screening run succeeded"
            change(self.contest, number, state="failed", failure=why)
            self.say(f"{f'entry {number}'} failed: {why}")
        else:
            change(self.contest, number, state="waiting", attempts=0)

    def _counted(self, number: int) -> RunCounts:
        done = self._done(number)
        return {"runs_done": done, "attempts": 0, "state": "verified" if done >= self.wanted else "running"}

    def _told(self, number: int, counted: RunCounts) -> None:
        self.shown.stale = True
        if counted["state"] == "verified":
            self.arms.pop(number, None)
        self.count(f"entry {number}: {counted['runs_done']} of {self.wanted} runs")

    def lost(self, hand: InHand, why: str) -> None:
        """Count a run that ended without a result, for a reason that other entries do not share."""
        with self.contest.database.read() as connection:
            entry = connection.get_one(ContestEntry, hand.number)
            attempts, control = entry.attempts + 1, entry.person_id is None
        change(self.contest, hand.number, attempts=attempts)
        if attempts >= MOST_ATTEMPTS and not control:
            reason = f"the host could not run it in {attempts} attempts; last error: {why}"
            if hand.final:
                left_out = self.contest.state().get("left_out") or {}
                self.contest.state(left_out={**left_out, str(hand.number): reason})
            else:
                change(self.contest, hand.number, void=reason)
            acts.record_given_up(self.contest, self.study, hand.number, reason)
            self.shown.stale = True
        self.say(f"entry {hand.number}: a run was lost: {why}")

    def abandon(self) -> list[InHand]:
        """Forget the jobs in progress; they resume from the ledger."""
        hands = list(self.in_hand.values())
        self.in_hand.clear()
        self.problems.clear()
        for hand in hands:
            self.live.ended(hand.number, hand.job.run_id)
        return hands

    def put_right(self) -> None:
        """Correct the database from the ledger, before any job is given: a run that is settled is stored, and then its
        experiments are no longer in memory to be resumed from."""
        with self.contest.database.read() as connection:
            columns = (ContestEntry.number, ContestEntry.entry_id, ContestEntry.state, ContestEntry.results)
            rows = connection.execute(select(*columns)).all()
        for number, entry_id, state, results in rows:
            if state in ("queued", "verified", "failed") or entry_id not in self.study.state.entries:
                continue
            if state == "screening":
                ended = self.study.state.run(content_id("r", self._arms(number)[0].arm_id, "0")).ended
                if ended is not None and ended.state == "finished":
                    self._screened(number, ended)
                continue
            if len(results) != self._done(number):
                self._restore(number)  # also of a void entry: it may be reinstated
        self.shown.refresh(force=True)

    def _restore(self, number: int) -> RunCounts:
        """Store what the ledger has of an entry's runs."""
        counted = self._counted(number)
        for index in filter(partial(self._measured, number), range(self.wanted)):
            run_id = self._run_id(number, index)
            run = self.study.state.run(run_id).ended
            assert run is not None
            store_result(self.contest, number, index + 1, run_result(self.on, run_id, run), **counted)
        self._told(number, counted)
        return counted

    def beat(self) -> None:
        """Store a heartbeat, and once a day the ledger's head, for the pages."""
        self._beaten = time.monotonic()
        self.contest.publish_head(self.study, daily=True)
        self._report()

    def _report(self) -> None:
        """Store time, process and the runs in progress for the pages; ``numbers``: of their entries."""
        numbers = [hand.number for hand in self.in_hand.values()]
        self.contest.database.heartbeat(in_hand=len(numbers), numbers=numbers)

    def progress(self, event: Mapping[str, JsonValue]) -> None:
        """Handle an event of a worker."""
        if time.monotonic() - self._beaten > BEAT_SECONDS:
            self.beat()
            if self.in_hand:  # a void entry leaves the board before a run ends
                self.record_acts()
                self.shown.refresh(force=False)
        hand = self.in_hand.get(str(event.get("run_id")))
        if hand is not None and not hand.final:
            self.live.take(hand.number, hand.index, event, hand.job.recorded)
        elif event.get("kind") == "note":
            self.say(str(event.get("text")))
        elif event.get("kind") == "progress":
            self.count(str(event.get("text")))


def end(study: Study, match_id: str) -> None:
    if match_id in study.state.matches and match_id not in study.state.ended_matches:
        study.record(MatchEndedEvent(match_id=match_id, state="finished"))


class Feed(Iterator[RunJob]):
    """The queue as an iterator of jobs: the executor takes the next one whenever a worker is free.

    It stops when no entry waits, and may yield again later, because entries arrive while others run.
    """

    def __init__(self, steward: Steward) -> None:
        self.steward = steward

    def __next__(self) -> RunJob:
        job = self.steward.next_job()
        if job is None:
            raise StopIteration
        return job
