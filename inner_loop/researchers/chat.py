"""The researcher with a language model: it proposes edits as text; the charter's rules decide, as for the scripted one.

Several researchers take turns. The call of turn t is made once turn t − N is decided (N researchers), so that N − 1
calls are in flight while an experiment runs; replies are taken up in the order of turns, whichever comes first. All
that is decided therefore follows from the replies alone, and a run is resumed and replayed by them.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from inner_loop.bench import Bench, RunStopped, WallSpent
from inner_loop.citations import joined
from inner_loop.contracts import Proposal
from inner_loop.models import provider
from inner_loop.models.client import ModelClient, Stopped
from inner_loop.models.contract import Message
from inner_loop.record import Record
from inner_loop.researchers import briefing
from inner_loop.researchers.call_queue import CallQueue
from inner_loop.researchers.edits_text import BadEdit, EditReply, parse
from inner_loop.researchers.labels import labelled
from inner_loop.researchers.notebook import Notebook
from inner_loop.researchers.quoting import line
from inner_loop.researchers.roles import Role, roles
from inner_loop.researchers.scripted import ScriptedResearcher
from inner_loop.run_context import RunContext
from programs.errors import UsageError
from programs.program import Program
from trainer.edits import Edit, EditError, EditSpace
from trainer.source import Source
from trainer.task import Task

REPAIRS = 2  # times that a reply which cannot be carried out is answered with the error
LOST = 4  # turns in a row, per researcher, that come to nothing: then the run ends with what it has
STATE = "research_state.md"


@dataclass(frozen=True)
class Turn:
    """What one turn was asked with. ``tried``: sources that it may not come back to."""

    number: int
    role: Role
    parent: Record
    messages: tuple[Message, ...]
    tried: frozenset[str]


@dataclass(frozen=True)
class TurnResult:
    """What came of a turn: an edited source of its parent, or the last error."""

    turn: Turn
    answer: EditReply | None
    source: Source | None
    error: str = ""


@dataclass(frozen=True)
class ChatProposal(Proposal):
    plan: TurnResult | None = None


class ChatResearcher(ScriptedResearcher):
    """Draws its waves from a model; screening, replicates, keep rule, branches and confirmation are the charter's."""

    def __init__(self, program: Program, task: Task, seed: int, context: RunContext) -> None:
        super().__init__(program, task, np.random.default_rng(seed))
        if not context.config.models:
            raise UsageError("a chat researcher needs a model", hint="-m gpt-4o-mini, or -m openai/NAME")
        self._context = context
        self._seats = roles(program)
        self._labels = labelled(program)
        self._notebook = Notebook.of(program, self._labels)
        self._briefing = briefing.TurnBriefing(program.charter, self._labels, task, self._seats)
        self._deadline = time.monotonic() + (context.config.max_wall or float("inf"))
        self._client = ModelClient(context, seed, deadline=self._deadline)
        self._calls: CallQueue[TurnResult] = CallQueue(self._look)
        self._turns = self._lost = 0
        if context.replay is None:  # LiteLLM takes seconds to load: they pass while the baseline is trained
            threading.Thread(target=provider.litellm, daemon=True).start()

    def work(self, bench: Bench) -> None:
        """Raises NoReply where no model answers any more, besides what every researcher may raise."""
        try:
            self._work(bench)
            bench.put_beside(STATE, briefing.state(bench, self._notebook))
        except WallSpent:
            bench.put_beside(STATE, briefing.state(bench, self._notebook))
            raise
        finally:
            self._client.close()
            self._calls.close()

    def _work(self, bench: Bench) -> None:
        try:
            super().work(bench)
        except Stopped:
            self._look()
            raise RunStopped("asked to stop while a model was waited for") from None

    # --- turns -----------------------------------------------------------------------------------------------------

    def _look(self) -> None:
        """Between two steps, and while a model is waited for: is the run to end?"""
        if self._context.should_stop():
            raise RunStopped("asked to stop while a model was thinking")
        if time.monotonic() > self._deadline:
            raise WallSpent(f"--max-wall: {self._context.config.max_wall:g} s by the clock are over")

    def _draw(self, bench: Bench, parent: Record, size: int) -> list[Proposal]:
        """The next ``size`` turns that come to an edit; fewer where the budget or the models' wits are at an end."""
        wave: list[Proposal] = []
        while len(wave) < size and self._lost < LOST * len(self._seats):
            self._look()
            self._ask(bench, parent, len(wave))
            if not self._calls.in_flight:
                break
            plan = self._calls.take()
            proposal = self._proposal(bench, parent, plan)
            if proposal is not None and any(proposal.source == other.source for other in wave):
                proposal = None  # counted as lost: a model with nothing else to say would be asked for ever
            self._note(plan, proposal)
            if proposal is not None:
                wave.append(proposal)
        if wave:
            self._lost = 0  # a wave that is not full is still something to try
        bench.put_beside(STATE, briefing.state(bench, self._notebook))
        return wave

    def _ask(self, bench: Bench, parent: Record, drawn: int) -> None:
        """Bring every researcher to work, as far as the budget carries what they will propose."""
        charter = self._charter
        fraction = bench.part(charter.screen.fraction)
        each = bench.cost(fraction) if fraction < 1 < charter.wave else bench.cost() * charter.replicates
        while self._calls.in_flight < len(self._seats):
            if drawn + self._calls.in_flight and not bench.meter.affords((drawn + self._calls.in_flight + 1) * each):
                return
            number, self._turns = self._turns, self._turns + 1
            role = self._seats[number % len(self._seats)]
            idea = self._notebook.hand_out(number)
            messages = self._briefing.turn(bench, self._notebook, parent, role, idea)
            turn = Turn(number, role, parent, tuple(messages), self._tried(bench))
            self._calls.ask(lambda turn=turn: converse(self._client, turn, self._context.config.reply_tokens))  # type: ignore[misc]

    def _tried(self, bench: Bench) -> frozenset[str]:
        if not self._charter.no_repeat:
            return frozenset()
        return frozenset(record.source.source_id for record in bench.history)

    # --- what comes of them ----------------------------------------------------------------------------------------

    def _proposal(self, bench: Bench, parent: Record, plan: TurnResult) -> ChatProposal | None:
        """The proposal of a plan on top of the parent of now; None where there is nothing to try."""
        if plan.answer is None or plan.source is None:
            return None
        source = merged(plan, parent.source)
        if source == parent.source or source.source_id in self._tried(bench):
            return None
        cited = tuple(self._labels.ids[label] for label in plan.answer.follows if label in self._labels.ids)
        return ChatProposal(
            edit=structured(bench.task.edits, parent, source), proposer=f"chat: {plan.turn.role.name}",
            because=joined(cited, self._citations.cite("focus")), description=plan.answer.title, source=source,
            plan=plan,
        )  # fmt: skip

    def _refit(self, bench: Bench, parent: Record, proposal: Proposal) -> Proposal | None:
        assert isinstance(proposal, ChatProposal) and proposal.plan is not None
        return self._proposal(bench, parent, proposal.plan)

    def _note(self, plan: TurnResult, proposal: ChatProposal | None) -> None:
        """Take a turn into the notebook: what it follows, adds and says, or why it is lost."""
        self._lost = 0 if proposal else self._lost + 1
        answer, name = plan.answer, plan.turn.role.name
        self._notebook.settle(plan.turn.number, answer.follows if answer else ())
        if answer is None:
            self._notebook.note(f"{name}: a turn was lost: {line(plan.error, 160)}")
            return
        self._notebook.add(answer.ideas, name)
        if answer.note:
            self._notebook.note(f"{name}: {answer.note}")
        if proposal is None:
            self._notebook.note(f"{name}: {answer.title!r} gave nothing that was not there already")


def converse(client: ModelClient, turn: Turn, max_tokens: int) -> TurnResult:
    """One turn: a call, and where its reply cannot be carried out, the error and another one. Runs in a thread; looks
    at nothing but the turn."""
    messages: Sequence[Message] = turn.messages
    error = ""
    for attempt in range(1 + REPAIRS):
        number, purpose = turn.number * (1 + REPAIRS) + attempt, "repair" if attempt else "turn"
        reply = client.numbered(number, messages, max_tokens=max_tokens, purpose=purpose)
        try:
            answer = parse(reply.text)
            source = answer.apply(turn.parent.source)
            if source.source_id in turn.tried:
                raise BadEdit("This very source was tried already, and the program says never to repeat one.")
            return TurnResult(turn, answer, source)
        except BadEdit as bad:
            error = str(bad)
        if reply.finish == "length":
            error = f"it was cut off after {reply.tokens_out} tokens. Reply shorter. ({error})"
        messages = [*messages, Message("assistant", reply.text or "(nothing)"), briefing.repair(error)]
    return TurnResult(turn, None, None, error)


def merged(plan: TurnResult, onto: Source) -> Source:
    """The plan's edit on a source that was kept meanwhile; where it does not go there, the plan's own source."""
    assert plan.answer is not None and plan.source is not None
    if plan.turn.parent.source == onto or any(change.whole is not None for change in plan.answer.changes):
        return plan.source
    try:
        return plan.answer.apply(onto)
    except BadEdit:
        return plan.source


def structured(space: EditSpace, parent: Record, source: Source) -> Edit:
    """The known edit that a text edit amounts to, if it is exactly one; else the empty edit."""
    edit = space.between(parent.config, space.config(source))
    try:
        return edit if edit and space.apply(parent.source, edit) == source else Edit()
    except EditError:
        return Edit()


def make(program: Program, task: Task, seed: int, context: RunContext) -> ChatResearcher:
    return ChatResearcher(program, task, seed, context)
