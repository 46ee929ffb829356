"""The researcher with a language model. It proposes edits as text; the charter's rules decide, as for the scripted one.

Several researchers take turns. The call of turn t starts once turn t − N is decided (N researchers), so N − 1 calls are
in flight while an experiment runs. Replies are processed in the order of turns, regardless of arrival. So all decisions
follow from the replies alone, and a run is resumed and replayed from them.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import numpy as np

from inner_loop.bench import Bench, RunStopped, WallSpent
from inner_loop.citations import joined
from inner_loop.contracts import Proposal
from inner_loop.events import TurnEvent
from inner_loop.models import provider
from inner_loop.models.client import ModelClient, Stopped
from inner_loop.phases import current
from inner_loop.record import Record
from inner_loop.researchers import briefing
from inner_loop.researchers.briefing import InFlight
from inner_loop.researchers.call_queue import CallQueue
from inner_loop.researchers.labels import labelled
from inner_loop.researchers.notebook import LOST, IdleTurn, Notebook
from inner_loop.researchers.quoting import line
from inner_loop.researchers.result_rows import CHAT
from inner_loop.researchers.scripted import ScriptedResearcher
from inner_loop.researchers.turn import Turn, TurnResult, Untried, converse
from inner_loop.run_context import RunContext
from programs.errors import UsageError
from programs.program import Program
from programs.roles import roles
from trainer.edits import Edit, EditError, EditSpace
from trainer.source import Source
from trainer.task import Task

REASON = 240  # characters of the reason that a turn led to no experiment
STATE = "research_state.md"


@dataclass(frozen=True, kw_only=True)
class ChatProposal(Proposal):
    plan: TurnResult


class ChatResearcher(ScriptedResearcher):
    """Draws its waves from a model; screening, replicates, keep rule, branches and confirmation are the charter's."""

    def __init__(self, program: Program, task: Task, seed: int, context: RunContext) -> None:
        super().__init__(program, task, np.random.default_rng(seed))
        if not context.config.models:
            raise UsageError("a chat researcher needs a model", hint="-m gpt-4o-mini, or -m openai/NAME")
        self._context = context
        self._seats = roles(program)
        self._labels = labelled(program)
        self._notebook = Notebook.of(program, self._labels, task.edits, self._seats)
        self._seen: dict[tuple[int, str], int] = {}  # see ResultRows
        self._briefing = briefing.TurnBriefing(
            program.charter, self._labels, task, self._seats, context.config, self._seen
        )
        self._deadline = time.monotonic() + (context.config.max_wall or float("inf"))
        shared = context.client
        self.client = shared if isinstance(shared, ModelClient) else ModelClient(context, seed, deadline=self._deadline)
        self._calls: CallQueue[TurnResult] = CallQueue(self._look)
        self._turns = 0
        self._lost: list[str] = []  # the fates of the last turns, as long as none led to an experiment
        self._calling: dict[int, str] = {}  # the turns in flight
        self._recorded = {(e.number, e.fate) for e in context.recorded if isinstance(e, TurnEvent)}
        if context.replay is None:  # LiteLLM takes seconds to load: load it while the baseline is trained
            threading.Thread(target=provider.litellm, daemon=True).start()

    def work(self, bench: Bench) -> None:
        """Raises NoReply if no model answers, besides what every researcher may raise."""
        try:
            with self._stoppable():
                super().work(bench)
            bench.put_beside(STATE, briefing.state(bench, self._notebook))
        except WallSpent:
            bench.put_beside(STATE, briefing.state(bench, self._notebook))
            raise
        finally:
            self.close(bench)

    def propose(self, bench: Bench) -> Proposal | None:
        with self._stoppable():
            return super().propose(bench)

    def ahead(self, bench: Bench, training: Sequence[Proposal]) -> None:
        self._enter(current(self._phases, bench))
        self._ask(bench, bench.head, training)

    def close(self, bench: Bench) -> None:
        self.client.close()
        self._calls.close()

    @contextmanager
    def _stoppable(self) -> Iterator[None]:
        try:
            yield
        except Stopped:
            self._look()
            raise RunStopped("asked to stop while waiting for a model") from None

    # --- turns -----------------------------------------------------------------------------------------------------

    def _look(self) -> None:
        """Between two steps, and while waiting for a model: raise if the run is to end."""
        if self._context.should_stop():
            raise RunStopped("asked to stop while waiting for a model")
        if time.monotonic() > self._deadline:
            raise WallSpent(f"max_wall: {self._context.config.max_wall:g} s of wall time are over")

    def _draw(self, bench: Bench, parent: Record, size: int) -> list[Proposal]:
        """The next ``size`` turns that give an edit; fewer if the budget ends or too many turns in a row give none."""
        wave: list[Proposal] = []
        most = LOST * len(self._seats)
        while len(wave) < size and len(self._lost) < most:
            self._look()
            self._ask(bench, parent, wave)
            if not self._calls.in_flight:
                break
            plan = self._calls.take()
            self._calling.pop(plan.turn.number)
            proposal = self._proposal(bench, parent, plan)
            if isinstance(proposal, ChatProposal) and any(proposal.source == other.source for other in wave):
                proposal = Untried("repeated", "the same source is in this wave already")  # else it may go on for ever
            self._note(bench, plan, proposal)
            if isinstance(proposal, ChatProposal):
                wave.append(proposal)
        if wave:
            self._lost = []  # a partial wave is still something to try
        elif len(self._lost) >= most:
            bench.early = f"the last {most} turns led to no experiment: {counted(self._lost)}"
        bench.put_beside(STATE, briefing.state(bench, self._notebook))
        return wave

    def _ask(self, bench: Bench, parent: Record, wave: Sequence[Proposal]) -> None:
        """Start a turn of every idle researcher, as far as the budget covers their proposals."""
        charter, drawn = self._charter, len(wave)
        fraction = bench.part(charter.screen.fraction)
        each = bench.cost(fraction) if fraction < 1 < charter.wave else bench.cost() * charter.replicates
        while self._calls.in_flight < len(self._seats):
            if drawn + self._calls.in_flight and not bench.meter.affords((drawn + self._calls.in_flight + 1) * each):
                return
            turn, self._turns = self._turns, self._turns + 1
            role = self._seats[turn % len(self._seats)]
            at, programs = self._context.seat
            number = turn * programs + at
            idea = self._notebook.hand_out(number, role.name, parent.config, bench.history)
            others = [p for p in wave if isinstance(p, ChatProposal)]
            made = [f"{p.plan.turn.role.name}: {p.description!r}" for p in others]
            flight = InFlight(tuple(made), tuple(self._calling.values()))
            try:
                messages = self._briefing.turn(bench, self._notebook, parent, role, idea, flight, len(self._lost))
            except UsageError as too_long:
                if len(bench.history) == 1:
                    raise
                bench.early = too_long.message  # the source has outgrown the model's context
                return
            asked = Turn(number, role, parent, tuple(messages), self._tried(bench, others))
            self._calling[number] = (
                f"{role.name}, {f'offered [{idea.label}] {line(idea.text, 80)}' if idea else 'offered no idea'}"
            )
            self._calls.ask(partial(converse, self.client, asked, self._briefing.reply_tokens, self._briefing.fits))

    def _tried(self, bench: Bench, others: Sequence[ChatProposal] = ()) -> frozenset[str]:
        if not self._charter.no_repeat:
            return frozenset()
        sources = [one.source for one in bench.history] + [one.source for one in others if one.source]
        return frozenset(source.source_id for source in sources)

    # --- results of turns ----------------------------------------------------------------------------------------

    def _proposal(self, bench: Bench, parent: Record, plan: TurnResult) -> ChatProposal | Untried:
        """The proposal of a turn on the current parent, or why there is nothing to try."""
        source = plan.on(parent.source, self._tried(bench))
        if isinstance(source, Untried):
            return source
        assert plan.answer is not None
        if plan.turn.parent.source != parent.source:
            self._seen[parent.number, source.source_id] = plan.turn.parent.number
        cited = tuple(self._labels.ids[label] for label in plan.answer.follows if label in self._labels.ids)
        return ChatProposal(
            edit=structured(bench.task.edits, parent, source),
            proposer=f"{CHAT}{plan.turn.role.name}",
            because=joined(cited, self._citations.cite("focus")),
            description=plan.answer.title,
            source=source,
            plan=plan,
        )

    def _refit(self, bench: Bench, parent: Record, proposal: Proposal) -> Proposal | None:
        """The proposal after another one of its wave was kept; it is noted if it cannot be tried beside that."""
        assert isinstance(proposal, ChatProposal)
        again = self._proposal(bench, parent, proposal.plan)
        if isinstance(again, Untried):
            self._untried(bench, proposal.plan, again)
            return None
        return again

    def _note(self, bench: Bench, plan: TurnResult, proposal: ChatProposal | Untried) -> None:
        """Add a turn to the notebook: the ideas that it follows, new ideas, its note, or why there is no experiment."""
        answer, name = plan.answer, plan.turn.role.name
        lost = proposal if isinstance(proposal, Untried) else None
        again = lost is not None and lost.fate == "conflict"
        self._notebook.settle(
            plan.turn.number, answer.follows if answer else (), answer.dropped if answer else (), again=again
        )
        if answer is not None:
            self._notebook.add(answer.ideas, name)
            if answer.note:
                self._notebook.note(name, answer.note, len(bench.history))
        if lost:
            self._lost.append(lost.fate)
            self._untried(bench, plan, lost)

    def _untried(self, bench: Bench, plan: TurnResult, why: Untried) -> None:
        """Record a turn without an experiment in the ledger, and for the results that all researchers see."""
        turn, title = plan.turn, plan.answer.title if plan.answer else ""
        reason = line(why.reason, REASON)
        said = Untried(why.fate, reason).sentence(turn.role.name, title)
        self._notebook.idle.append(IdleTurn(len(bench.history), said))
        if (turn.number, why.fate) not in self._recorded:
            follows = plan.answer.follows if plan.answer else ()
            event = TurnEvent(
                run_id=self._context.run_id,
                number=turn.number,
                after=len(bench.history),
                role=turn.role.name,
                fate=why.fate,
                title=title,
                reason=reason,
                directive_ids=tuple(self._labels.ids[label] for label in follows if label in self._labels.ids),
            )
            self._context.emit(event)


def counted(fates: Sequence[str]) -> str:
    """``8 pass, 4 unusable``."""
    return ", ".join(f"{count} {fate}" for fate, count in sorted(Counter(fates).items()))


def structured(space: EditSpace, parent: Record, source: Source) -> Edit:
    """The known edit that is equivalent to a text edit; the empty edit if there is none."""
    edit = space.between(parent.config, space.config(source))
    try:
        return edit if edit and space.apply(parent.source, edit) == source else Edit()
    except EditError:
        return Edit()


def make(program: Program, task: Task, seed: int, context: RunContext) -> ChatResearcher:
    return ChatResearcher(program, task, seed, context)
