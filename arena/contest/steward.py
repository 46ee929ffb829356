"""The steward: takes entries from the queue to the arena's workers and writes down what comes of them.

One process, which holds the study's lock. The ledger says what has been run; the database says who waits. Where a kill
came between the two, the ledger is right and the database is put right at the next start.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import undefer

from arena.contest import acts, arms, board
from arena.contest.contest import Contest
from arena.contest.entries import change
from arena.contest.kin import Kin
from arena.contest.line import Held, Line
from arena.contest.live import Live
from arena.contest.queue import Costs, Waiting
from arena.contest.results import run_result, tell_result
from arena.contest.tables import Entry
from arena.executor import Executor
from arena.jobs import JobResult, RunJob
from arena.match import Arm, Match, measure_baseline, run_gain, run_job, settle
from arena.study import Study
from programs.ids import content_id

Say = Callable[[str], None]
MOST_ATTEMPTS = 3  # runs of an entry that are lost before this host gives it up


@dataclass(frozen=True)
class InHand:
    """A job that a worker has. ``index`` None: the screening run."""

    number: int
    person: int
    index: int | None
    job: RunJob
    suspect: bool = False


class Steward:
    """Carries a contest's queue out. ``say`` tells the host's log."""

    def __init__(self, contest: Contest, study: Study, say: Say) -> None:
        self.contest, self.study, self.say = contest, study, say
        config = contest.config
        self.costs = Costs(config.screen_budget, config.run_budget)
        self.line = Line(self.costs, config.runs)
        self.board: Match = arms.match_of(study, arms.BOARD)
        self.screening: Match = arms.match_of(study, arms.SCREENING)
        self.arms: dict[int, tuple[Arm, Arm]] = {}  # entry's number → its arms of the screening and of the board
        self.in_hand: dict[str, InHand] = {}
        self.live = Live(contest)
        self.kin = Kin(study)
        self.shown = board.Board(contest)

    # -- what waits ----------------------------------------------------------------------------------------------

    def waiting(self) -> tuple[list[Waiting], dict[int, float]]:
        """The entries with something left to do, and what each person has been given so far."""
        self.line.look(self.contest.database)
        return self.line.waiting(self._held())

    def _held(self) -> list[Held]:
        return [Held(hand.number, hand.person, hand.index is None) for hand in self.in_hand.values()]

    def next_job(self) -> RunJob | None:
        """The job whose turn it is; None where nothing waits, or a suspect has to be alone."""
        if any(hand.suspect for hand in self.in_hand.values()):
            return None
        self.line.look(self.contest.database)
        found = self.line.next(self._held())
        if found is None or (found.suspect and self.in_hand):
            return None
        return self._begin(found)

    def _begin(self, waiting: Waiting) -> RunJob | None:
        number = waiting.number
        screening, playing = self._arms(number)
        if waiting.screening:
            index, state = None, "screening"
            job = arms.screening_job(self.study, self.screening, screening, self.costs.screen)
        else:
            index, state = self._next_index(number, playing), "running"
            job = run_job(self.study, self.board, playing, index)
        if not change(self.contest, number, state=state):  # the host has just declared it void
            return None
        self.in_hand[job.run_id] = InHand(number, waiting.person, index, job, waiting.suspect)
        return job

    def _next_index(self, number: int, arm: Arm) -> int:
        """The first run of the seed list that is neither measured nor in a worker's hand."""
        taken = {hand.index for hand in self.in_hand.values() if hand.number == number}
        return next(i for i in range(self.contest.config.runs) if i not in taken and not self._measured(arm, i))

    def _measured(self, arm: Arm, index: int) -> bool:
        return run_gain(self.study, content_id("r", arm.arm_id, str(index))) is not None

    def _done(self, arm: Arm) -> int:
        """Runs of the arm that the ledger has measured."""
        return sum(self._measured(arm, i) for i in range(self.contest.config.runs))

    def _arms(self, number: int) -> tuple[Arm, Arm]:
        """The entry's arms; the ledger is told of them before anything of the entry is run."""
        if number not in self.arms:
            with self.contest.database.read() as connection:
                entry = connection.get_one(Entry, number, options=[undefer(Entry.raw)])
                same = select(Entry.number).where(Entry.program_id == entry.program_id, Entry.number < number)
                twin = len(connection.scalars(same).all())
            pair = (arms.arm_of(self.screening, entry, twin), arms.arm_of(self.board, entry, twin))
            if entry.entry_id not in self.study.history.entries:
                arms.admit(self.study, entry, list(zip((self.screening, self.board), pair, strict=True)))
                if entry.role == "program":
                    alike = self.kin.take(number, (d.directive_id for d in pair[1].program.directives))
                    change(self.contest, number, alike=alike)
            self.arms[number] = pair
        return self.arms[number]

    # -- what comes back -----------------------------------------------------------------------------------------

    def tend(self, executor: Executor) -> None:
        """Carry out all that waits, whatever arrives meanwhile included; returns where nothing is left now."""
        self.tell_acts()
        baseline = measure_baseline(self.study, executor, self.board.stream, self.board.match_id)
        for result in executor.run(Feed(self)):
            self._take(result, baseline)
        self.shown.refresh(force=False)

    def tell_acts(self) -> None:
        """What the host has declared void, or taken back, since the last look: into the ledger, then onto the board."""
        if acts.tell(self.contest, self.study):
            self.shown.stale = True

    def _take(self, result: JobResult, baseline: float) -> None:
        hand = self.in_hand.pop(result.job_id)
        self.live.ended(hand.number, result.job_id)
        self.tell_acts()
        if result.state != "finished":
            if result.problem is not None:
                self.lost(hand, str(result.problem.get("message")))
            return
        if hand.index is None:
            self._screened(hand, result.run)
            return
        arm = self._arms(hand.number)[1]
        settle(self.study, hand.job, arm, result, baseline)
        told, counted = run_result(self.study, hand.job.run_id, result.run), self._counted(arm)
        tell_result(self.contest, hand.number, hand.index + 1, told, **counted)
        self._told(hand.number, counted)
        self.shown.refresh(force=False)

    def _screened(self, hand: InHand, run: Mapping[str, Any]) -> None:
        if run.get("baseline_metric") is None or run.get("final_metric") is None:
            why = str(run.get("reason") or "not one experiment of its screening run succeeded")
            change(self.contest, hand.number, state="failed", reason=why)
            self.say(f"entry {hand.number} failed: {why}")
        else:
            change(self.contest, hand.number, state="waiting", attempts=0)

    def _counted(self, arm: Arm) -> dict[str, Any]:
        """What the ledger says of an entry: how many of its runs are measured, and what state that is."""
        done = self._done(arm)
        return {
            "runs_done": done, "attempts": 0,
            "state": "verified" if done >= self.contest.config.runs else "running",
        }  # fmt: skip

    def _told(self, number: int, counted: Mapping[str, Any]) -> None:
        self.shown.stale = True
        if counted["state"] == "verified":
            self.arms.pop(number, None)
        self.say(f"entry {number}: {counted['runs_done']} of {self.contest.config.runs} runs")

    def lost(self, hand: InHand, why: str) -> None:
        """A run ended without a result, by no fault that this host has with others too."""
        with self.contest.database.read() as connection:
            entry = connection.get_one(Entry, hand.number)
            attempts, control = entry.attempts + 1, entry.person_id is None
        if attempts >= MOST_ATTEMPTS and not control:
            reason = f"this host could not carry it out, {attempts} times; the last time: {why}"
            change(self.contest, hand.number, attempts=attempts, state="void", reason=reason)
        else:
            change(self.contest, hand.number, attempts=attempts)
        self.say(f"entry {hand.number}: a run was lost: {why}")

    def abandon(self) -> list[InHand]:
        """Forget what the workers had in hand; it begins again where the ledger says that it ended."""
        hands = list(self.in_hand.values())
        self.in_hand.clear()
        for hand in hands:
            self.live.ended(hand.number, hand.job.run_id)
        return hands

    def put_right(self) -> None:
        """At the start: let the database say what the ledger says."""
        with self.contest.database.read() as connection:
            rows = connection.execute(select(Entry.number, Entry.state, Entry.runs_done)).all()
        for number, state, done in rows:
            if state in ("queued", "verified", "failed", "void"):
                continue
            arm = self._arms(number)[1]
            counted = self._counted(arm)
            if counted["runs_done"] != done or counted["state"] == "verified":
                change(self.contest, number, **counted)
                self._told(number, counted)
        self.shown.refresh(force=True)

    def progress(self, event: Mapping[str, Any]) -> None:
        """What a worker tells of a run in hand."""
        hand = self.in_hand.get(str(event.get("run_id")))
        if hand is not None:
            self.live.take(hand.number, hand.index, event)
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
