"""A night: several programs take turns on one lineage of train.py.

In random blocks each program gets a turn on top of the same `main`: it proposes one experiment, or, as a coding agent,
works for one session. A win is trained again with the second seed of `main`, and the mean of both differences decides:
it has to be at least the standard error that the draw of the rows gives it. So no experiment is spent on comparing
programs, and each turn is a randomised comparison at an equal start.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import Protocol, runtime_checkable

from inner_loop.behaviour import failure_of, with_patches
from inner_loop.bench import Bench, BenchClosed, NoReply
from inner_loop.comparison import WORDS, Decision, decide_by, difference, gain_over_source
from inner_loop.contracts import Researcher
from inner_loop.events import AgentHeadEvent, AgentSessionEvent, Experiment, FindingEvent, NightTurnEvent, Proposal
from inner_loop.researchers import find_researcher
from inner_loop.run_context import RunContext
from programs.common.errors import UsageError
from programs.program import Program
from trainer.rows import Difference
from trainer.source import Source
from trainer.task import Task

LEAST_REPEATED = 30  # experiments of a night from which on wins are trained twice
SESSION = 6  # experiments of an agent's turn
SECOND = 1  # the seed with which wins and `main` are trained again
DRAWS = 5  # for a proposal that no other turn of the same round makes
BY, BEGUN = "night", "main of the night before"
NOTHING_LEFT = "no program had anything more to try"
NO_EXPERIMENT = "the last sessions of the agent brought no new experiment"
Session = Callable[[Program, int], None]  # of a program, with so many experiments at most


@runtime_checkable
class Proposes(Protocol):
    """A researcher whose turn is one experiment."""

    def propose(self, bench: Bench) -> Proposal | None:
        """An edit of the bench's head, or None where it has nothing more to try."""

    def refit(self, bench: Bench, proposal: Proposal) -> Proposal | None:
        """A proposal made for an earlier head, on the head of now; None where it does not apply."""

    def ahead(self, bench: Bench, training: Sequence[Proposal]) -> None:
        """Ask a model for the next proposal while others train, so that no training waits for it."""

    def close(self, bench: Bench) -> None: ...


@runtime_checkable
class HasSessions(Protocol):
    """A researcher whose turn is a session of an agent, of any program."""

    def sessions(self, bench: Bench) -> AbstractContextManager[Session]:
        """Within it, each call is one session on top of the bench's head."""


@dataclass
class Seat:
    """A program of the night. ``waiting``: its wins that lost against a better one of the same round. ``failed``: its
    text cannot be handled, so it proposes nothing more."""

    program: Program
    researcher: Researcher
    waiting: list[Proposal] = field(default_factory=list)
    failed: bool = False


@dataclass(frozen=True)
class NightTurn:
    number: int
    block: int
    seat: Seat


class Night:
    """The researcher of a night. ``task``: without the edits of the programs. ``seeds``: one for the blocks, then one
    for each program. ``start``: the `main` of an earlier night.

    Raises UsageError for a kind of researcher that takes no turns.
    """

    def __init__(
        self, programs: Sequence[Program], task: Task, seeds: Sequence[int], context: RunContext, researcher: str,
        start: Source | None = None,
    ) -> None:  # fmt: skip
        make, count = find_researcher(researcher), len(programs)
        self._context, self._start, self._seed = context, start, seeds[0]
        self._seats: list[Seat] = []
        for at, (program, seed) in enumerate(zip(programs, seeds[1:], strict=True)):
            shared = replace(context, seat=(at, count), client=getattr(self._first, "client", None) if at else None)
            self._seats.append(Seat(program, make(program, with_patches(task, program), seed, shared)))
        if not isinstance(self._first, Proposes | HasSessions):
            raise UsageError(
                f"a researcher of the kind {researcher} takes no turns",
                hint="--set generations=N compares programs in matches",
            )
        self._recorded = {e.number: e for e in context.recorded if isinstance(e, NightTurnEvent)}
        self._repeats = True
        self._second = "a second seed" if task.takes_seed else "a second training"

    @property
    def _first(self) -> Researcher:
        return self._seats[0].researcher

    def work(self, bench: Bench) -> None:
        self._repeats = bench.budget_seconds / bench.cost() >= LEAST_REPEATED
        if isinstance(self._first, HasSessions):
            with self._first.sessions(bench) as session:
                self._begin(bench)
                self._sessions(bench, session)
            return
        try:
            self._begin(bench)
            self._rounds(bench)
        finally:
            for seat in self._seats:
                self._of(seat).close(bench)

    def _turns(self) -> Iterator[NightTurn]:
        """Random blocks, for ever."""
        import numpy as np

        rng, number, block = np.random.default_rng(self._seed), 0, 0
        while True:
            for at in rng.permutation(len(self._seats)):
                yield NightTurn(number, block, self._seats[at])
                number += 1
            block += 1

    def _begin(self, bench: Bench) -> None:
        """Train the untouched source again, and take up the `main` of an earlier night."""
        if self._repeats:
            self._again(bench, [bench.baseline])
        if self._start is None or self._start == bench.baseline.source:
            return
        known = (one for one in bench.history if one.source == self._start)  # an agent's night that is resumed
        begun = next(known, None) or bench.experiment(Proposal(proposer=BY, description=BEGUN, source=self._start))
        if self._repeats and begun.ok:
            self._again(bench, [begun])
        if not begun.decision:
            why = BEGUN if begun.ok else f"{begun.status}: {begun.reason}"
            bench.decide(begun, "keep" if begun.ok else "discard", why)

    # --- turns of one experiment ----------------------------------------------------------------------------------

    def _rounds(self, bench: Bench) -> None:
        """As many turns side by side as the run has devices; until the budget is spent, or no program has anything to
        try."""
        turns, empty, most = self._turns(), 0, 2 * len(self._seats)
        coming = next(turns)
        while bench.is_open and empty < most:
            drawn: list[tuple[NightTurn, Proposal]] = []
            while len(drawn) < bench.devices and empty < most:
                turn, coming = coming, next(turns)
                proposal = self._proposal_of(bench, turn.seat, [one for _, one in drawn])
                empty = 0 if proposal else empty + 1
                if proposal:
                    drawn.append((turn, proposal))
                else:
                    self._told(bench, turn, [])
            self._of(coming.seat).ahead(bench, [one for _, one in drawn])
            self._train(bench, drawn)
            empty = 0 if drawn else empty
        bench.early = (bench.early or NOTHING_LEFT) if bench.is_open else ""

    def _of(self, seat: Seat) -> Proposes:
        assert isinstance(seat.researcher, Proposes)
        return seat.researcher

    def _proposal_of(self, bench: Bench, seat: Seat, beside: Sequence[Proposal]) -> Proposal | None:
        """`_proposal`; None from a program whose text cannot be handled, while the others go on."""
        try:
            return None if seat.failed else self._proposal(bench, seat, beside)
        except BenchClosed:
            raise
        except Exception as error:
            self._context.emit(FindingEvent.of_line(failure_of(error, [seat.program]), run_id=bench.run_id))
            seat.failed = True
            return None

    def _proposal(self, bench: Bench, seat: Seat, beside: Sequence[Proposal]) -> Proposal | None:
        """The next of a program on `main`, of another source than those that will be trained ``beside`` it."""
        taken = {self._source(bench, one) for one in beside}
        for waiting in (seat.waiting.pop(0) for _ in range(len(seat.waiting))):
            again = self._of(seat).refit(bench, waiting)
            if again is not None and self._source(bench, again) not in taken:
                return again
            seat.waiting += [waiting] if again else []
        for _ in range(DRAWS):
            proposal = self._of(seat).propose(bench)
            if proposal is None or self._source(bench, proposal) not in taken:
                return proposal
        return None

    def _source(self, bench: Bench, proposal: Proposal) -> Source:
        return proposal.source or bench.source_of(proposal.edit)

    def _train(self, bench: Bench, drawn: Sequence[tuple[NightTurn, Proposal]]) -> None:
        """Train a round on `main`. The best win becomes `main`; the others wait for the next turn of their program."""
        main = bench.head
        proposals = [
            replace(proposal, parent=main, program_id=turn.seat.program.program_id) for turn, proposal in drawn
        ]
        records = bench.experiments(proposals)
        compared = {record.number: self._compared(bench, record, main) for record in records}
        wins = [record for record in records if self._wins(bench, record, main)]
        again = self._again(bench, wins) if self._repeats else {}
        compared |= {number: self._compared(bench, bench.history[number], main) for number in again}
        sure = [one for one in wins if self._decided(bench, compared[one.number]) == "keep"]
        sure = [one for one in sure if one.number in again or not self._repeats]
        best = max(sure, key=lambda one: _gain(compared[one.number]), default=None)
        for (turn, proposal), record in zip(drawn, records, strict=False):
            found, repeat = compared[record.number], again.get(record.number)
            decision: str = self._decided(bench, found)
            why = gain_over_source(bench, found, main, 2 if repeat else 1)
            if best is not None and record in sure and record is not best:
                turn.seat.waiting.append(proposal)
                decision = "discard"
                why = f"experiment {best.number} of the same round was kept; tried again on top of it"
            elif not record.ok:
                why = f"{record.status}: {record.reason}"
            elif repeat and not repeat.ok:
                why = f"{repeat.status} with {self._second}"
            elif record in wins and self._repeats and not repeat:
                decision, why = "undecided", f"no time for {self._second}: {why}"
            else:
                why = f"{WORDS[decision]}: {why}"
            bench.decide(record, decision, why, found)
            kept = record if record is best else None
            self._told(bench, turn, [record, *filter(None, [repeat])], kept, _gain(found))

    def _again(self, bench: Bench, wins: Sequence[Experiment]) -> dict[int, Experiment]:
        """Train records with a second seed, once; number → its repeat, of those that the budget covers."""
        known = {one.source: one for one in bench.history if one.replicate == SECOND and one.full}
        for repeat in known.values():
            if not repeat.decision:  # of a session that was cut short
                bench.decide(repeat, "replicate", self._second)
        new = [one for one in wins if one.source not in known]
        proposals = [
            Proposal(
                proposer=BY, directive_ids=one.directive_ids, description=f"{one.description}, again",
                source=one.source, parent=one, replicate=SECOND, program_id=one.program_id,
            )
            for one in new
        ]  # fmt: skip
        for one, repeat in zip(new, bench.experiments(proposals), strict=False):
            bench.decide(repeat, "replicate", f"experiment {one.number} with {self._second}")
            known[one.source] = repeat
        return {one.number: known[one.source] for one in wins if one.source in known}

    def _compared(self, bench: Bench, record: Experiment, main: Experiment) -> Difference | None:
        """The gain over `main` on the same seeds; None for a source that failed with any of them."""
        failed = any(one.source == record.source and one.full and not one.ok for one in bench.history)
        return None if failed else difference(bench, record, main)

    def _wins(self, bench: Bench, record: Experiment, main: Experiment) -> bool:
        """Whether the first look is worth a second seed. Without second seeds, whether it is kept."""
        return self._decided(bench, self._compared(bench, record, main)) == "keep"

    def _decided(self, bench: Bench, found: Difference | None) -> Decision:
        return decide_by(bench, found, repeated=self._repeats)

    # --- turns of one session -------------------------------------------------------------------------------------

    def _sessions(self, bench: Bench, session: Session) -> None:
        empty, most = 0, 2 * len(self._seats)
        for turn in self._turns():
            if turn.number in self._recorded:
                continue
            if not bench.is_open or empty == most:
                break
            empty = 0 if self._session(bench, turn, session) else empty + 1
        bench.early = NO_EXPERIMENT if empty == most else ""

    def _session(self, bench: Bench, turn: NightTurn, session: Session) -> bool:
        """One session on `main`, or the rest of one. Its best kept source becomes `main` if it is better with a second
        seed, too. Returns whether it made an experiment."""
        before = self._recorded.get(turn.number - 1)
        begun = [one for one in bench.history if one.proposer == BY and one.decision == "keep"]
        main = bench.history[before.main] if before else (begun or [bench.baseline])[-1]
        agents = (number for number, one in enumerate(bench.history) if number and one.proposer != BY)
        first = before.first + before.count if before else next(agents, len(bench.history))
        left = SESSION - (len(bench.history) - first)
        bench.program_id = turn.seat.program.program_id
        gone: NoReply | None = None
        if left > 0 and not self._ended(len(bench.history) > first):
            try:
                session(turn.seat.program, left)
            except NoReply as problem:
                if len(bench.history) == first:
                    raise
                gone = problem  # the turn is settled first
        tried = [one for one in bench.history[first:] if one.decision == "keep" and one.full and one.proposer != BY]
        wins = [one for one in tried if self._wins(bench, one, main)]
        best = max(wins, key=lambda one: _gain(self._compared(bench, one, main)), default=None)
        repeated = best is not None and (not self._repeats or bool(self._again(bench, [best])))
        found = self._compared(bench, best, main) if best is not None and repeated else None
        kept, gain = (best if self._decided(bench, found) == "keep" else None), _gain(found)
        if bench.head is not (kept or main):
            bench.move_head(kept or main)
            number = bench.head.number
            self._context.emit(AgentHeadEvent(run_id=bench.run_id, number=number, after=len(bench.history)))
        self._told(bench, turn, bench.history[first:], kept, gain)
        if gone is not None:
            raise gone
        return len(bench.history) > first

    def _ended(self, tried: bool) -> bool:
        """Whether an earlier attempt ended the session of the turn in hand, but did not write the turn down."""
        sessions = sum(isinstance(event, AgentSessionEvent) for event in self._context.recorded)
        told = sum(isinstance(event, NightTurnEvent) for event in self._context.recorded)
        return tried and len(self._recorded) == told and sessions > told

    def _told(
        self,
        bench: Bench,
        turn: NightTurn,
        trained: Sequence[Experiment],
        kept: Experiment | None = None,
        gain: float = 0.0,
    ) -> None:
        """Write a turn down, once."""
        event = NightTurnEvent(
            run_id=bench.run_id,
            number=turn.number,
            block=turn.block,
            program_id=turn.seat.program.program_id,
            first=trained[0].number if trained else len(bench.history),
            count=len(trained),
            main=bench.head.number,
            kept=kept.number if kept else None,
            gain=gain if kept else 0.0,
            device_seconds_charged=sum(one.device_seconds_charged for one in trained),
        )
        if turn.number not in self._recorded:
            self._context.emit(event)
            self._recorded[turn.number] = event


def _gain(found: Difference | None) -> float:
    return found.value if found else 0.0
