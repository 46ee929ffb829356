"""The researcher with a language model. It proposes edits as text; the charter's rules decide, as for the scripted one.

Several researchers take turns. The call of turn t starts once turn t − N is decided (N researchers), so N − 1 calls are
in flight while an experiment runs. Replies are processed in the order of turns, regardless of arrival. So all decisions
follow from the replies alone, and a run is resumed and replayed from them.
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

REPAIRS = 2  # times that an unusable reply is answered with the error
LOST = 4  # lost turns in a row, per researcher, that end the run
STATE = "research_state.md"


@dataclass(frozen=True)
class Turn:
    """The input of one turn. ``tried``: ids of sources that it must not return to."""

    number: int
    role: Role
    parent: Record
    messages: tuple[Message, ...]
    tried: frozenset[str]


@dataclass(frozen=True)
class TurnResult:
    """The result of a turn: an edited source of its parent, or the last error."""

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
        if context.replay is None:  # LiteLLM takes seconds to load: load it while the baseline is trained
            threading.Thread(target=provider.litellm, daemon=True).start()

    def work(self, bench: Bench) -> None:
        """Raises NoReply if no model answers, besides what every researcher may raise."""
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
            raise RunStopped("asked to stop while waiting for a model") from None

    # --- turns -----------------------------------------------------------------------------------------------------

    def _look(self) -> None:
        """Between two steps, and while waiting for a model: raise if the run is to end."""
        if self._context.should_stop():
            raise RunStopped("asked to stop while waiting for a model")
        if time.monotonic() > self._deadline:
            raise WallSpent(f"--max-wall: {self._context.config.max_wall:g} s of wall time are over")

    def _draw(self, bench: Bench, parent: Record, size: int) -> list[Proposal]:
        """The next ``size`` turns that give an edit; fewer if the budget ends or too many turns in a row are lost."""
        wave: list[Proposal] = []
        while len(wave) < size and self._lost < LOST * len(self._seats):
            self._look()
            self._ask(bench, parent, len(wave))
            if not self._calls.in_flight:
                break
            plan = self._calls.take()
            proposal = self._proposal(bench, parent, plan)
            if proposal is not None and any(proposal.source == other.source for other in wave):
                proposal = None  # counted as lost: else a model that repeats itself would be called for ever
            self._note(plan, proposal)
            if proposal is not None:
                wave.append(proposal)
        if wave:
            self._lost = 0  # a partial wave is still something to try
        bench.put_beside(STATE, briefing.state(bench, self._notebook))
        return wave

    def _ask(self, bench: Bench, parent: Record, drawn: int) -> None:
        """Start a turn of every idle researcher, as far as the budget covers their proposals."""
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

    # --- results of turns ----------------------------------------------------------------------------------------

    def _proposal(self, bench: Bench, parent: Record, plan: TurnResult) -> ChatProposal | None:
        """The proposal of a turn on the current parent; None if there is nothing to try."""
        if plan.answer is None or plan.source is None:
            return None
        source = merged(plan, parent.source)
        if source == parent.source or source.source_id in self._tried(bench):
            return None
        cited = tuple(self._labels.ids[label] for label in plan.answer.follows if label in self._labels.ids)
        return ChatProposal(
            edit=structured(bench.task.edits, parent, source),
            proposer=f"chat: {plan.turn.role.name}",
            because=joined(cited, self._citations.cite("focus")),
            description=plan.answer.title,
            source=source,
            plan=plan,
        )

    def _refit(self, bench: Bench, parent: Record, proposal: Proposal) -> Proposal | None:
        assert isinstance(proposal, ChatProposal) and proposal.plan is not None
        return self._proposal(bench, parent, proposal.plan)

    def _note(self, plan: TurnResult, proposal: ChatProposal | None) -> None:
        """Add a turn to the notebook: the idea that it follows, new ideas, its note, or why it is lost."""
        self._lost = 0 if proposal else self._lost + 1
        answer, name = plan.answer, plan.turn.role.name
        self._notebook.settle(plan.turn.number, answer.follows if answer else ())
        if answer is None:
            self._notebook.note(f"{name}: lost a turn: {line(plan.error, 160)}")
            return
        self._notebook.add(answer.ideas, name)
        if answer.note:
            self._notebook.note(f"{name}: {answer.note}")
        if proposal is None:
            self._notebook.note(f"{name}: {answer.title!r} did not change the source")


def converse(client: ModelClient, turn: Turn, max_tokens: int) -> TurnResult:
    """One turn: a call, and if its reply cannot be applied, the error and another call. Runs in a thread and reads
    only the turn."""
    messages: Sequence[Message] = turn.messages
    error = ""
    for attempt in range(1 + REPAIRS):
        number, purpose = turn.number * (1 + REPAIRS) + attempt, "repair" if attempt else "turn"
        reply = client.numbered(number, messages, max_tokens=max_tokens, purpose=purpose)
        try:
            answer = parse(reply.text)
            source = answer.apply(turn.parent.source)
            if source.source_id in turn.tried:
                raise BadEdit("This source was tried already, and the program forbids repeats.")
            return TurnResult(turn, answer, source)
        except BadEdit as bad:
            error = str(bad)
        if reply.finish == "length":
            error = f"the reply was cut off after {reply.tokens_out} tokens; write a shorter one ({error})"
        messages = [*messages, Message("assistant", reply.text or "(nothing)"), briefing.repair(error)]
    return TurnResult(turn, None, None, error)


def merged(plan: TurnResult, onto: Source) -> Source:
    """The turn's edit applied to the newly kept source; if it does not fit there, the turn's own source."""
    assert plan.answer is not None and plan.source is not None
    if plan.turn.parent.source == onto or any(change.whole is not None for change in plan.answer.changes):
        return plan.source
    try:
        return plan.answer.apply(onto)
    except BadEdit:
        return plan.source


def structured(space: EditSpace, parent: Record, source: Source) -> Edit:
    """The known edit that is equivalent to a text edit; the empty edit if there is none."""
    edit = space.between(parent.config, space.config(source))
    try:
        return edit if edit and space.apply(parent.source, edit) == source else Edit()
    except EditError:
        return Edit()


def make(program: Program, task: Task, seed: int, context: RunContext) -> ChatResearcher:
    return ChatResearcher(program, task, seed, context)
