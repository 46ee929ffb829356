"""The steward: gives the queue's runs to the arena's workers and stores the results.

One process, which holds the study's lock. The ledger contains the runs, the database the entries with their states. If
a kill came between two writes, the states follow the ledger at the next start.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from pydantic import JsonValue
from sqlalchemy import select
from sqlalchemy.orm import undefer

from analysis.ledger.events import MatchEndedEvent
from analysis.ledger.run_state import RunState
from arena.arms import Arm, TaskMatch
from arena.contest.contest import Contest
from arena.contest.entering import acts
from arena.contest.entering.entries import change
from arena.contest.ranking import decision
from arena.contest.running import arms, pace
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
        self.runs_done: Counter[int] = Counter()  # by entry's number, on the board
        self.in_hand: dict[str, InHand] = {}
        self.problems: list[tuple[InHand, ErrorRecord]] = []  # why runs stopped, until the workers have ended
        self.pause = Pause(contest, say)
        self.final: decision.FinalRace | None = None  # once it has begun
        self._looks, self._spoke = 0, time.monotonic()  # that were told, and when
        self._beaten = float("-inf")

    # -- the queue -----------------------------------------------------------------------------------------------

    def waiting(self) -> tuple[list[Waiting], dict[int, float]]:
        """The entries with runs left, and each person's device-seconds so far."""
        held = [ActiveRun(hand.number, hand.person, hand.index is None) for hand in self.in_hand.values()]
        columns = (ContestEntry.number, ContestEntry.person_id, ContestEntry.state, ContestEntry.attempts)
        with self.contest.database.read() as connection:
            entries = connection.execute(select(*columns).order_by(ContestEntry.number)).all()
        return in_line(entries, self.runs_done, self.wanted, self.costs, held)

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
        else:
            state, index = "running", self._next_index(number)
            job = run_job(self.on, self.board.match, playing, index)
        if not change(self.contest, number, state=state):  # the host has just declared the entry void
            return None
        self.in_hand[job.run_id] = InHand(number, waiting.person, index, job, waiting.suspect)
        self._report()
        return job

    def _next_index(self, number: int) -> int:
        """The first run of the seed lists that is neither measured nor in progress."""
        taken = {hand.index for hand in self.in_hand.values() if hand.number == number}
        return next(i for i in range(self.wanted) if i not in taken and not self._measured(number, i))

    def _measured(self, number: int, index: int) -> bool:
        return run_gain(self.on, content_id("r", self._arms(number)[1].arm_id, str(index))) is not None

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
        """Record new host actions in the ledger, and return whether there were any."""
        return acts.record_acts(self.contest, self.study) > 0

    def _take(self, result: JobResult) -> None:
        hand = self.in_hand.pop(result.job_id)
        self._report()
        self.record_acts()
        if result.state != "finished":
            if result.problem is not None:  # attributed when the other runs have ended
                self.problems.append((hand, result.problem))
            return
        self.pause.over()
        assert result.run is not None
        if hand.index is None:
            self._screened(hand.number, result.run)
        elif self.final is not None:
            settle(self.on, hand.job, self.final.arms[hand.number], result)
            change(self.contest, hand.number, attempts=0)
            self._confirmed(self.final)
        else:
            pace.record_run_time(self.contest, time.monotonic() - hand.began)
            settle(self.on, hand.job, self._arms(hand.number)[1], result)
            self._board_run_ended(hand)
        self.study.follow()
        forget_experiments(self.study.state.runs[hand.job.run_id])

    def _board_run_ended(self, hand: InHand) -> None:
        """An entry's next run is measured, unless the infrastructure failed to train its script."""
        number = hand.number
        self.runs_done[number] += hand.index is not None and self._measured(number, hand.index)
        self._reached(number)
        self.count(f"entry {number}: {self.runs_done[number]} of {self.wanted} runs")

    def _reached(self, number: int) -> None:
        """Store the state that an entry has reached by its measured runs."""
        is_done = self.runs_done[number] >= self.wanted
        change(self.contest, number, state="verified" if is_done else "running", attempts=0)
        if is_done:
            self.arms.pop(number, None)

    def _screened(self, number: int, run: RunEndedEvent) -> None:
        if run.baseline_metric is None or run.final_metric is None:
            why = run.reason or "no experiment of the screening run succeeded"
            change(self.contest, number, state="failed", failure=why)
            self.say(f"{f'entry {number}'} failed: {why}")
        else:
            change(self.contest, number, state="waiting", attempts=0)

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
        self.say(f"entry {hand.number}: a run was lost: {why}")

    def abandon(self) -> list[InHand]:
        """Forget the jobs in progress; they resume from the ledger."""
        hands = list(self.in_hand.values())
        self.in_hand.clear()
        self.problems.clear()
        self.study.follow()
        return hands

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
            self.record_acts()
        if event.get("kind") == "note":
            self.say(str(event.get("text")))
        elif event.get("kind") == "progress":
            self.count(str(event.get("text")))


def forget_experiments(run: RunState) -> None:
    """A run that has its result is not resumed: its experiments leave the memory."""
    run.experiments.clear()
    run.decisions.clear()


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
