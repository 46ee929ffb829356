"""The steward: takes entries from the queue to the arena's workers and writes down what comes of them.

One process, which holds the study's lock. The ledger says what has been run; the database says who waits. Where a kill
came between the two, the ledger is right and the database is put right at the next start.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import undefer

from arena.contest import acts, arms, board, careful, pace
from arena.contest.contest import Contest
from arena.contest.entries import change
from arena.contest.insight import Insight
from arena.contest.line import ActiveRun, QueueState
from arena.contest.live import Live
from arena.contest.pause import Pause, is_the_hosts
from arena.contest.queue import Waiting
from arena.contest.results import run_result, store_result
from arena.contest.settings import utc_now
from arena.contest.similarity import SimilarityIndex
from arena.contest.tables import ContestEntry
from arena.executor import Executor
from arena.jobs import JobResult, RunJob
from arena.match import Arm, Match, measure_baseline, run_gain, run_job, settle
from arena.study import Study
from inner_loop.events import RunEndedEvent
from programs.ids import content_id

Say = Callable[[str], None]
BEAT_SECONDS = 5.0
MOST_ATTEMPTS = 3  # runs of an entry that are lost before this host gives it up


@dataclass(frozen=True)
class InHand:
    """A job that a worker has. ``index`` None: the screening run."""

    number: int
    person: int
    index: int | None
    job: RunJob
    suspect: bool = False
    began: float = field(default_factory=time.monotonic)


@dataclass(frozen=True)
class Place:
    """One of the contest's tasks: the study on it, and the match of the board there."""

    study: Study
    board: Match


class Steward:
    """Carries a contest's queue out. ``say`` tells the host's log.

    The runs of an entry are numbered over all tasks, and go round them: run ``index`` is on task ``index`` modulo their
    number.
    """

    def __init__(self, contest: Contest, study: Study, say: Say) -> None:
        self.contest, self.study, self.say = contest, study, say
        self.costs = contest.costs
        self.wanted = contest.config.wanted
        self.line = QueueState(self.costs, self.wanted)
        self.places = [Place(each, arms.match_of(each, arms.BOARD)) for each in study.on_tasks()]
        self.screening: Match = arms.match_of(study, arms.SCREENING)
        self.arms: dict[int, tuple[Arm, ...]] = {}  # entry's number → its arms: of the screening, of each task's board
        self.in_hand: dict[str, InHand] = {}
        self.problems: list[tuple[InHand, Mapping[str, Any]]] = []  # why runs stopped, until the workers have ended
        self.pause = Pause(contest, say)
        self.live = Live(contest)
        self.kin = SimilarityIndex(study)
        self.shown = board.BoardUpdater(contest)
        self.insight = Insight(contest, study)
        self._beaten = float("-inf")

    # -- what waits ----------------------------------------------------------------------------------------------

    def waiting(self) -> tuple[list[Waiting], dict[int, float]]:
        """The entries with something left to do, and what each person has been given so far."""
        self.line.look(self.contest.database)
        return self.line.waiting(self._held())

    def _held(self) -> list[ActiveRun]:
        return [ActiveRun(hand.number, hand.person, hand.index is None) for hand in self.in_hand.values()]

    def next_job(self) -> RunJob | None:
        """The job whose turn it is; None where nothing waits, or a suspect has to be alone."""
        if self.problems or any(hand.suspect for hand in self.in_hand.values()):
            return None
        self.line.look(self.contest.database)
        waiting = self.line.next(self._held())
        if waiting is None or (waiting.suspect and self.in_hand):
            return None
        return self._begin(waiting)

    def _begin(self, waiting: Waiting) -> RunJob | None:
        number = waiting.number
        screening = self._arms(number)[0]
        if waiting.screening:
            index, state = None, "screening"
            job = arms.screening_job(self.study, self.screening, screening, self.costs.screen)
        else:
            index, state = self._next_index(number), "running"
            there, playing, nth = self._on(number, index)
            job = run_job(there.study, there.board, playing, nth)
        if not change(self.contest, number, state=state):  # the host has just declared it void
            return None
        self.in_hand[job.run_id] = InHand(number, waiting.person, index, job, waiting.suspect)
        return job

    def _on(self, number: int, index: int) -> tuple[Place, Arm, int]:
        """Where a run of an entry is run, its arm there, and the how manyth run of that arm it is."""
        nth, at = divmod(index, len(self.places))
        return self.places[at], self._arms(number)[1 + at], nth

    def _next_index(self, number: int) -> int:
        """The first run of the seed lists that is neither measured nor in a worker's hand."""
        taken = {hand.index for hand in self.in_hand.values() if hand.number == number}
        return next(i for i in range(self.wanted) if i not in taken and not self._measured(number, i))

    def _measured(self, number: int, index: int) -> bool:
        there, arm, nth = self._on(number, index)
        return run_gain(there.study, content_id("r", arm.arm_id, str(nth))) is not None

    def _done(self, number: int) -> int:
        """Runs of the entry that the ledger has measured."""
        return sum(self._measured(number, i) for i in range(self.wanted))

    def _arms(self, number: int) -> tuple[Arm, ...]:
        """The entry's arms; the ledger is told of them before anything of the entry is run."""
        if number not in self.arms:
            with self.contest.database.read() as connection:
                entry = connection.get_one(ContestEntry, number, options=[undefer(ContestEntry.raw)])
                same = select(ContestEntry.number).where(
                    ContestEntry.program_id == entry.program_id, ContestEntry.number < number
                )
                twin = len(connection.scalars(same).all())
            matches = [(self.study, self.screening), *((there.study, there.board) for there in self.places)]
            new_arms = [(on, match, arms.arm_of(match, entry, twin)) for on, match in matches]
            if entry.entry_id not in self.study.state.entries:
                arms.admit(self.study, entry, new_arms)
                if entry.role == "program":
                    alike = self.kin.take(number, (d.directive_id for d in new_arms[0][2].program.directives))
                    change(self.contest, number, alike=alike)
            self.arms[number] = tuple(arm for _, _, arm in new_arms)
        return self.arms[number]

    # -- what comes back -----------------------------------------------------------------------------------------

    def tend(self, executor: Executor) -> None:
        """Carry out all that waits, whatever arrives meanwhile included; returns where nothing is left now."""
        self.record_acts()
        baselines = [
            measure_baseline(there.study, executor, there.board.stream, there.board.match_id) for there in self.places
        ]
        for result in executor.run(Feed(self)):
            self._take(result, baselines)
        self._look_at_problems()
        self.shown.refresh(force=False)

    def _look_at_problems(self) -> None:
        """A problem that others would meet too stops the queue and counts against nobody; another is the entry's."""
        problems, self.problems = self.problems, []
        ours = next((problem for _, problem in problems if is_the_hosts(self.study, problem)), None)
        if ours is not None:
            self.pause.begin(ours)
            return
        for hand, problem in problems:
            self.lost(hand, str(problem.get("message")))

    def record_acts(self) -> None:
        """What the host has declared void, or taken back, since the last look: into the ledger, then onto the board."""
        if acts.record_acts(self.contest, self.study):
            self.shown.stale = True

    def _take(self, result: JobResult, baselines: Sequence[float]) -> None:
        hand = self.in_hand.pop(result.job_id)
        self.live.ended(hand.number, result.job_id)
        self.record_acts()
        if result.state != "finished":
            if result.problem is not None:  # whose it is, is looked at when the others have ended
                self.problems.append((hand, result.problem))
            return
        self.pause.over()
        assert result.run is not None
        if hand.index is None:
            self._screened(hand, result.run)
            return
        pace.took(self.contest, time.monotonic() - hand.began)
        there, arm, _ = self._on(hand.number, hand.index)
        settle(there.study, hand.job, arm, result, baselines[self.places.index(there)])
        result_row, counted = run_result(there.study, hand.job.run_id, result.run), self._counted(hand.number)
        store_result(self.contest, hand.number, hand.index + 1, result_row, **counted)
        self._told(hand.number, counted)
        self.shown.refresh(force=False)
        self.insight.refresh()

    def _screened(self, hand: InHand, run: RunEndedEvent) -> None:
        if run.baseline_metric is None or run.final_metric is None:
            why = run.reason or "not one experiment of its screening run succeeded"
            change(self.contest, hand.number, state="failed", reason=why)
            self.say(f"entry {hand.number} failed: {why}")
        else:
            change(self.contest, hand.number, state="waiting", attempts=0)

    def _counted(self, number: int) -> dict[str, Any]:
        """What the ledger says of an entry: how many of its runs are measured, and what state that is."""
        done = self._done(number)
        return {"runs_done": done, "attempts": 0, "state": "verified" if done >= self.wanted else "running"}

    def _told(self, number: int, counted: Mapping[str, Any]) -> None:
        self.shown.stale = True
        if counted["state"] == "verified":
            self.arms.pop(number, None)
        self.say(f"entry {number}: {counted['runs_done']} of {self.wanted} runs")

    def lost(self, hand: InHand, why: str) -> None:
        """A run ended without a result, by no fault that this host has with others too."""
        with self.contest.database.read() as connection:
            entry = connection.get_one(ContestEntry, hand.number)
            attempts, control = entry.attempts + 1, entry.person_id is None
        if attempts >= MOST_ATTEMPTS and not control:
            reason = f"this host could not carry it out, {attempts} times; the last time: {why}"
            change(self.contest, hand.number, attempts=attempts, state="void", reason=reason)
            arm_ids = acts.arm_ids(self.contest, entry.entry_id, self.contest.phase())
            careful.record(self.contest, self.study, hand.number, arm_ids, reason)  # what it has measured ranks no more
            self.shown.stale = True
        else:
            change(self.contest, hand.number, attempts=attempts)
        self.say(f"entry {hand.number}: a run was lost: {why}")

    def abandon(self) -> list[InHand]:
        """Forget what the workers had in hand; it begins again where the ledger says that it ended."""
        hands = list(self.in_hand.values())
        self.in_hand.clear()
        self.problems.clear()
        for hand in hands:
            self.live.ended(hand.number, hand.job.run_id)
        return hands

    def put_right(self) -> None:
        """At the start: let the database say what the ledger says."""
        with self.contest.database.read() as connection:
            columns = (ContestEntry.number, ContestEntry.entry_id, ContestEntry.state, ContestEntry.runs_done)
            rows = connection.execute(select(*columns)).all()
        for number, entry_id, state, done in rows:
            if state in ("queued", "verified", "failed") or entry_id not in self.study.state.entries:
                continue
            counted = self._counted(number)  # of a void one too: it may be taken back
            if counted["runs_done"] != done or (counted["state"] == "verified" and state != "void"):
                change(self.contest, number, **counted)
                self._told(number, counted)
        self.shown.refresh(force=True)

    def beat(self) -> None:
        """Tell the pages and the host that this process is at work, and on how many runs."""
        self._beaten = time.monotonic()
        self.contest.database.set_fact("pulse", at=utc_now().isoformat(), pid=os.getpid(), in_hand=len(self.in_hand))

    def progress(self, event: Mapping[str, Any]) -> None:
        """What a worker tells of a run in hand."""
        if time.monotonic() - self._beaten > BEAT_SECONDS:
            self.beat()
        hand = self.in_hand.get(str(event.get("run_id")))
        if hand is not None:
            self.live.take(hand.number, hand.index, event, hand.job.recorded)
        elif event.get("kind") == "run_ended" and event.get("state") == "finished":  # one that decides
            self.pause.over()
        elif event.get("kind") == "note":
            self.say(str(event.get("text")))


class Feed(Iterator[RunJob]):
    """The queue as jobs: asked whenever a worker is free, it answers with whose turn it is then.

    Where nothing waits it ends; asked again later it may go on, for entries come while others run.
    """

    def __init__(self, steward: Steward) -> None:
        self.steward = steward

    def __next__(self) -> RunJob:
        job = self.steward.next_job()
        if job is None:
            raise StopIteration
        return job
