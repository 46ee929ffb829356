"""A night: several programs take turns on one lineage of train.py.

In random blocks each program gets a turn on top of the same `main`: its researcher proposes one experiment, or, as a
coding agent, a few in one session. A win is trained again with the second seed of `main`, and the mean of both
differences decides at once: it has to be at least the standard error that the draw of the rows gives it. So no
experiment is spent on comparing programs, and each turn is a randomised comparison at an equal start.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace

from inner_loop.behaviour import failure_of, with_patches
from inner_loop.bench import Bench, BenchClosed
from inner_loop.comparison import gain_over_source, judge, second_training
from inner_loop.contracts import UNPLANNED, Turn, TurnOrder, TurnResearcher, next_proposal
from inner_loop.events import Experiment, FindingEvent, NightTurnEvent, Proposal
from inner_loop.researchers import find_researcher
from inner_loop.run_context import RunContext
from programs.common.errors import UsageError
from programs.program import Program
from trainer.source import Source
from trainer.task import Task

LEAST_REPEATED = 30  # experiments of a night from which on wins are trained twice
SECOND = 1  # the seed with which wins and `main` are trained again
BY, BEGUN = "night", "main of the night before"
DRAWN = "a script with settings drawn at random"
NOTHING_LEFT = "no program had anything more to try"
ALL_PLAYED = "all planned turns were played"


@dataclass
class Seat:
    """A program of the night. ``waiting``: its wins that lost against a better one of the same round. ``failed``: its
    text cannot be handled, so it proposes nothing more."""

    program: Program
    researcher: TurnResearcher
    waiting: list[Proposal] = field(default_factory=list)
    failed: bool = False


@dataclass
class NightTurn:
    """A turn of a program. ``steps``: what it proposes; ``trained``: its experiments, second seeds included; ``kept``:
    those that became `main`."""

    number: int
    block: int
    seat: Seat
    trained: list[Experiment] = field(default_factory=list)
    kept: list[Experiment] = field(default_factory=list)
    steps: Turn = field(init=False)


Proposed = tuple[NightTurn, Proposal]  # what a turn proposes next


class Night:
    """The researcher of a night. ``task``: without the edits of the programs. ``seeds``: one for the blocks, then one
    for each program. ``start``: the `main` of an earlier night, or another script to begin with.

    Raises UsageError for a kind of researcher that takes no turns.
    """

    def __init__(
        self, programs: Sequence[Program], task: Task, seeds: Sequence[int], context: RunContext, researcher: str,
        start: Source | None = None, order: TurnOrder = UNPLANNED,
    ) -> None:  # fmt: skip
        self._order = order
        make, count = find_researcher(researcher), len(programs)
        self._context, self._start, self._seed = context, start, seeds[0]
        self._seats: list[Seat] = []
        for at, (program, seed) in enumerate(zip(programs, seeds[1:], strict=True)):
            client = self._seats[0].researcher.client if at else None
            shared = replace(context, seat=(at, count), client=client)
            follower = make(program, with_patches(task, program), seed, shared)
            if not isinstance(follower, TurnResearcher):
                raise UsageError(
                    f"a researcher of the kind {researcher} takes no turns",
                    hint="--set generations=N compares programs in matches",
                )
            self._seats.append(Seat(program, follower))
        self._recorded = {e.number: e for e in context.recorded if isinstance(e, NightTurnEvent)}

    def work(self, bench: Bench) -> None:
        is_long = bench.budget_seconds / bench.cost() >= LEAST_REPEATED
        bench.repeats_wins = is_long or self._order.blocks > 0
        try:
            for member in self._seats:
                member.researcher.open(bench)
            self._begin(bench)
            self._play(bench, self._turns() if self._seats[0].researcher.is_replayed else self._turns_after(bench))
        finally:
            for member in self._seats:
                member.researcher.close()

    def _turns(self) -> Iterator[NightTurn]:
        """Random blocks: the planned ones, else for ever."""
        import numpy as np

        rng, (blocks, groups) = np.random.default_rng(self._seed), self._order
        size = len(self._seats) // groups
        for block in range(blocks) if blocks else itertools.count():
            first = block % groups * size
            for position, at in enumerate(rng.permutation(size)):
                yield NightTurn(block * size + position, block, self._seats[first + at])

    def _turns_after(self, bench: Bench) -> Iterator[NightTurn]:
        """The turns that follow the recorded ones, of agents, whose experiments are restored and not replayed: first
        the rest of the one that was cut."""
        turns, after = self._turns(), 0
        for recorded in self._recorded.values():
            next(turns)
            after = recorded.first + recorded.count
        cut = next(turns, None)
        if cut is None:
            return
        cut.trained = [record for record in bench.history[after:] if record.program_id]
        cut.kept = [record for record in cut.trained if record.decision == "keep"]
        yield cut
        yield from turns

    def _begin(self, bench: Bench) -> None:
        """Train the untouched source again, and take up the `main` of an earlier night."""
        self._again(bench, [bench.baseline])
        if self._start is None or self._start == bench.baseline.source:
            return
        known = (record for record in bench.history if record.source == self._start)  # an agent's night that is resumed
        description = DRAWN if self._order.blocks else BEGUN
        first = Proposal(proposer=BY, description=description, source=self._start)
        begun = next(known, None) or bench.experiment(first)
        if begun.ok:
            self._again(bench, [begun])
        if not begun.decision:
            why = description if begun.ok else f"{begun.status}: {begun.reason}"
            bench.decide(begun, "keep" if begun.ok else "discard", why)

    def _play(self, bench: Bench, turns: Iterator[NightTurn]) -> None:
        """Turns of one experiment side by side, as many as the run has devices, longer ones one after another; until
        the budget is spent, the planned turns are over, or no program has anything to try."""
        empty, most = 0, 2 * len(self._seats)
        width = bench.devices if self._seats[0].researcher.turn_size == 1 else 1
        coming = next(turns, None)

        def is_playable(turn: NightTurn) -> bool:
            return empty < most and (bench.is_open or bool(turn.trained))

        while coming and is_playable(coming):
            with ExitStack() as stack:
                drawn: list[Proposed] = []
                while coming and len(drawn) < width and is_playable(coming):
                    turn, coming = coming, next(turns, None)
                    turn.steps = stack.enter_context(
                        closing(self._steps(bench, turn, [asked_proposal for _, asked_proposal in drawn]))
                    )
                    proposal = self._first_of(bench, turn)
                    empty = 0 if proposal or turn.trained else empty + 1
                    if proposal:
                        drawn.append((turn, proposal))
                    else:
                        self._record(bench, turn)
                if coming:
                    coming.seat.researcher.ahead(bench, [asked_proposal for _, asked_proposal in drawn])
                empty = 0 if drawn else empty
                while drawn:
                    drawn = self._train(bench, drawn)
        bench.early = (bench.early or (NOTHING_LEFT if coming else ALL_PLAYED)) if bench.is_open else ""

    def _first_of(self, bench: Bench, turn: NightTurn) -> Proposal | None:
        """The first proposal of a turn; None from a program whose text cannot be handled, while the others go on."""
        try:
            return None if turn.seat.failed else next(turn.steps, None)
        except BenchClosed:
            raise
        except Exception as error:
            if not turn.seat.researcher.is_replayed:
                raise
            self._context.emit(FindingEvent.of_line(failure_of(error, [turn.seat.program]), run_id=bench.run_id))
            turn.seat.failed = True
            return None

    def _steps(self, bench: Bench, turn: NightTurn, beside: Sequence[Proposal]) -> Turn:
        """What a program proposes on `main`, of other sources than those that will be trained ``beside`` it."""
        member, taken = turn.seat, {bench.proposed_source(record) for record in beside}
        for waiting in (member.waiting.pop(0) for _ in range(len(member.waiting))):
            refitted = member.researcher.refit(bench, waiting)
            if refitted is not None and bench.proposed_source(refitted) not in taken:
                yield refitted
                return
            member.waiting += [waiting] if refitted else []
        left = member.researcher.turn_size - sum(record.proposer != BY for record in turn.trained)
        yield from member.researcher.turn(bench, left, taken)

    def _train(self, bench: Bench, drawn: Sequence[Proposed]) -> list[Proposed]:
        """Train a round on `main`, and decide. The best win becomes `main`; the others wait for the next turn of their
        program. Returns what the turns that go on propose next."""
        main, following = bench.head, list[Proposed]()
        records = bench.experiments(
            [
                replace(proposal, parent=proposal.parent or main, program_id=turn.seat.program.program_id)
                for turn, proposal in drawn
            ]
        )
        judged = {record.number: judge(bench, record, main) for record in records}
        wins = [record for record in records if judged[record.number][0] == "keep"]
        repeated = self._again(bench, wins)
        judged |= {number: judge(bench, bench.history[number], main, repeat) for number, repeat in repeated.items()}
        sure = [win for win in wins if judged[win.number][0] == "keep"]
        sure = [win for win in sure if win.number in repeated or not bench.repeats_wins]
        gains = {number: compared.value for number, (_, _, compared) in judged.items() if compared}
        best = max(sure, key=lambda one: gains[one.number], default=None)
        for (turn, proposal), record in zip(drawn, records, strict=False):
            (decision, why, compared), repeat = judged[record.number], repeated.get(record.number)
            if best is not None and record in sure and record is not best:
                turn.seat.waiting.append(proposal)
                decision = "discard"
                why = f"experiment {best.number} of the same round was kept; tried again on top of it"
            elif record in wins and bench.repeats_wins and not repeat:
                decision = "undecided"
                why = f"no time for {second_training(bench.task)}: {gain_over_source(bench, compared, main)}"
            bench.decide(record, decision, why, compared)
            turn.trained += [record, *filter(None, [repeat])]
            turn.kept += [record] if record is best else []
            if proposed := next_proposal(turn.steps, record):
                following.append((turn, proposed))
            else:
                self._record(bench, turn)
        for turn, _ in drawn[len(records) :]:  # the budget did not cover them
            if turn.trained:
                self._record(bench, turn)
        return following

    def _again(self, bench: Bench, wins: Sequence[Experiment]) -> dict[int, Experiment]:
        """Train records with a second seed, once; number → its repeat, of those that the budget covers. None in a short
        night."""
        if not bench.repeats_wins:
            return {}
        known = {record.source: record for record in bench.history if record.replicate == SECOND and record.full}
        new = [record for record in wins if record.source not in known]
        proposals = [
            Proposal(
                proposer=BY, directive_ids=record.directive_ids, description=f"{record.description}, again",
                source=record.source, parent=record, replicate=SECOND, program_id=record.program_id,
            )
            for record in new
        ]  # fmt: skip
        for record, repeat in zip(new, bench.experiments(proposals), strict=False):
            reason = f"experiment {record.number} with {second_training(bench.task)}"
            bench.decide(repeat, "replicate", reason)
            known[record.source] = repeat
        return {record.number: known[record.source] for record in wins if record.source in known}

    def _record(self, bench: Bench, turn: NightTurn) -> None:
        """Write a turn down, once."""
        trained, kept = turn.trained, turn.kept
        event = NightTurnEvent(
            run_id=bench.run_id,
            number=turn.number,
            block=turn.block,
            program_id=turn.seat.program.program_id,
            first=trained[0].number if trained else len(bench.history),
            count=len(trained),
            main=bench.head.number,
            kept=kept[-1].number if kept else None,
            gain=sum((record.gain or 0.0 for record in kept), 0.0),
            device_seconds_charged=sum(record.device_seconds_charged for record in trained),
        )
        if turn.number not in self._recorded:
            self._context.emit(event)
            self._recorded[turn.number] = event
