"""The researcher with a language model. It proposes edits as text; the charter's rules decide, as for the scripted one.

One reply at a time: while an experiment trains, the call of the next turn is made already, and its prompt says what is
being trained. When its turn comes, the edit is applied to the source that is kept then. So all decisions follow from
the replies in their order, never from their speed, and a run is resumed and replayed from them.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Any, Literal

from inner_loop.bench import Bench, RunStopped, WallSpent
from inner_loop.chat.notes import LOST, Notes, QueuedIdea
from inner_loop.chat.prompt import Prompts
from inner_loop.chat.quoting import line
from inner_loop.chat.reply import BadEdit, EditReply, parse
from inner_loop.chat.results import CHAT
from inner_loop.events import Proposal, TurnEvent
from inner_loop.models import provider
from inner_loop.models.client import ModelClient, Stopped
from inner_loop.models.contract import Message
from inner_loop.models.prices import bill_line, estimate, require_ready
from inner_loop.moves import known_edit
from inner_loop.researchers.description import ResearcherDescription
from inner_loop.researchers.scripted import WaveResearcher
from inner_loop.run_context import ModelConfig, RunContext, is_replayed
from programs.common.errors import UsageError
from programs.program import Program
from programs.roles import Role, roles
from trainer.source import Source
from trainer.task import Task

REASON = 240  # characters of the reason that a turn led to no experiment
REPAIRS = 2  # times that an unusable reply is answered with the error
STOPPED = "asked to stop while waiting for a model"
CHECK_SECONDS = 0.05  # between two checks whether the run is to end, while a model is waited for
Fate = Literal["pass", "conflict", "unusable"]


@dataclass
class ChatTurn:
    """One turn: a prompt, and calls until a reply can be applied to ``source``. ``tried``: ids of sources that it must
    not return to. At its end, ``answer`` is the reply, and ``edited`` the edited source unless it passed; else
    ``error`` says what was wrong with the last one."""

    number: int
    role: Role
    idea: QueuedIdea | None
    source: Source
    messages: Sequence[Message] = ()
    tried: frozenset[str] = frozenset()
    calls: int = 0
    answer: EditReply | None = None
    edited: Source | None = None
    error: str = ""

    def take(self, answer: EditReply, source: Source, tried: frozenset[str]) -> None:
        """Apply a reply to a source, which is that of the prompt or one that was kept since. Raises BadEdit."""
        edited = None if answer.passed else answer.apply(source, self.source)
        if edited is not None and edited.source_id in tried:
            raise BadEdit("This source was tried already or is in training; propose another one.")
        self.answer, self.edited = answer, edited

    def converse(self, client: ModelClient, prompts: Prompts) -> None:
        """Call until a reply can be applied, or the repairs are used up. Runs in a thread and reads only the turn."""
        messages = self.messages
        while self.answer is None and self.calls <= REPAIRS:
            number, purpose = self.number * (1 + REPAIRS) + self.calls, "repair" if self.calls else "turn"
            reply = client.numbered(
                number, messages, max_tokens=prompts.reply_tokens, purpose=purpose, reason=self.error
            )
            self.calls += 1
            try:
                self.take(parse(reply.text), self.source, self.tried)
            except BadEdit as bad:
                cut = f"the reply was cut off after {reply.tokens_out} tokens; write a shorter one ({bad})"
                self.error = cut if reply.finish == "length" else str(bad)
                messages = prompts.repair(self.messages, reply.text, self.error)


@dataclass(frozen=True, kw_only=True)
class ChatProposal(Proposal):
    turn: ChatTurn = field(compare=False)


class ChatDescription(ResearcherDescription):
    """The models of -m follow the program."""

    def preflight(self, config: ModelConfig, sandboxed: bool) -> None:
        require_ready(config)

    def cost_line(self, task: Task, config: ModelConfig, experiments: int) -> tuple[str, dict[str, Any]]:
        price, facts = super().cost_line(task, config, experiments)
        if not config.models:
            return price, facts
        if is_replayed():
            return "replayed, no model is called", facts
        bill = estimate(task, config, experiments)
        return bill_line(bill, config), {**facts, "tokens": bill.tokens, "usd": bill.usd}


class ChatResearcher(WaveResearcher):
    """Draws waves from a model, turn by turn; the roles of the program take turns. Screening, replicates, keep rule and
    confirmation are the charter's."""

    description = ChatDescription

    def __init__(self, program: Program, task: Task, seed: int, context: RunContext) -> None:
        super().__init__(program)
        self._focus = program.cite("focus")
        self._context = context
        self._roles = roles(program)
        self._prompts = Prompts(program, task, self._roles, context.config, context.seat[1] > 1)
        self._notes = Notes(program, self._prompts.ids, task.edits, self._roles)
        self._deadline = time.monotonic() + (context.config.max_wall or float("inf"))
        shared = context.client
        self.client: ModelClient = (
            shared if isinstance(shared, ModelClient) else ModelClient(context, seed, deadline=self._deadline)
        )
        self._caller = ThreadPoolExecutor(1)
        self._calling: tuple[ChatTurn, Future[None]] | None = None
        self._turns = 0
        self._lost: list[str] = []  # the fates of the last turns, as long as none led to an experiment
        self._recorded = {(e.number, e.fate) for e in context.recorded if isinstance(e, TurnEvent)}
        if context.replay is None:  # LiteLLM takes seconds to load: load it while the baseline is trained
            threading.Thread(target=provider.litellm, daemon=True).start()

    def draw(self, bench: Bench, size: int) -> list[Proposal]:
        """The next ``size`` turns that give an edit; fewer if the budget ends or too many turns in a row give none.
        Raises NoReply if no model answers."""
        wave: list[Proposal] = []
        most = LOST * len(self._roles)
        while len(wave) < size and len(self._lost) < most:
            self._check_end()
            self._begin_turn(bench, wave)
            turn = self._end_turn(bench, wave)
            if turn is None:
                break
            self._record_turn(bench, turn)
            if turn.edited is not None:
                wave.append(self._proposal(bench, turn))
        if wave:
            self._lost = []  # a partial wave is still something to try
        elif len(self._lost) >= most:
            counted = ", ".join(f"{count} {fate}" for fate, count in sorted(Counter(self._lost).items()))
            bench.early = f"the last {most} turns led to no experiment: {counted}"
        return wave

    def refit(self, bench: Bench, proposal: Proposal) -> Proposal | None:
        """The proposal on what another one of its wave left; it is noted if it cannot be tried beside that."""
        assert isinstance(proposal, ChatProposal) and proposal.turn.answer is not None
        try:
            proposal.turn.take(proposal.turn.answer, bench.head.source, self._tried(bench, ()))
        except BadEdit as bad:
            self._record_untried(bench, proposal.turn, "conflict", str(bad))
            return None
        return self._proposal(bench, proposal.turn)

    def ahead(self, bench: Bench, training: Sequence[Proposal]) -> None:
        self._begin_turn(bench, training)

    def close(self) -> None:
        """Wait for a call in flight: it costs money, and its event must be recorded."""
        self.client.close()
        self._caller.shutdown()

    # --- turns -----------------------------------------------------------------------------------------------------

    def _check_end(self) -> None:
        """Between two steps, and while waiting for a model: raise if the run is to end."""
        if self._context.should_stop():
            raise RunStopped(STOPPED)
        if time.monotonic() > self._deadline:
            raise WallSpent(f"max_wall: {self._context.config.max_wall:g} s of wall time are over")

    def _begin_turn(self, bench: Bench, beside: Sequence[Proposal]) -> None:
        """Start the call of the next turn, unless one is in flight or the budget does not cover its experiment beside
        these."""
        charter = self._charter
        fraction = bench.part(charter.screen.fraction)
        cost = bench.cost(fraction) if fraction < 1 < charter.wave else bench.cost() * charter.replicates
        if self._calling or (beside and not bench.meter.affords((len(beside) + 1) * cost)):
            return
        role = self._roles[self._turns % len(self._roles)]
        position, programs = self._context.seat
        ideas = self._notes.open_ideas(role.name, bench.head.config, bench.history)
        turn = ChatTurn(self._turns * programs + position, role, ideas[0] if ideas else None, bench.head.source)
        self._turns += 1
        self._call(bench, beside, turn)

    def _call(self, bench: Bench, beside: Sequence[Proposal], turn: ChatTurn) -> None:
        """Start a turn's call, or another one, about the source that is kept now; none if that has outgrown the model's
        context."""
        role, idea, lost = turn.role, turn.idea, len(self._lost)
        try:
            turn.messages = self._prompts.turn(bench, self._notes, role, idea, beside, lost, turn.error)
        except UsageError as too_long:
            if len(bench.history) == 1:
                raise
            bench.early = too_long.message
            return
        bench.early = ""
        turn.source, turn.tried = bench.head.source, self._tried(bench, beside)
        self._calling = turn, self._caller.submit(turn.converse, self.client, self._prompts)

    def _end_turn(self, bench: Bench, beside: Sequence[Proposal]) -> ChatTurn | None:
        """The turn in hand once its calls have ended, with its edit on the head's source. If the edit does not apply
        there, the model reads why, and what the source is now. None without a turn."""
        while self._calling:
            turn, future = self._calling
            while not wait([future], CHECK_SECONDS).done:
                self._check_end()
            self._calling = None
            try:
                future.result()
            except Stopped:
                self._check_end()
                raise RunStopped(STOPPED) from None
            if turn.answer is None or turn.source == bench.head.source:
                return turn
            try:
                turn.take(turn.answer, bench.head.source, self._tried(bench, beside))
                turn.source = bench.head.source
                return turn
            except BadEdit as bad:
                turn.answer, turn.edited, turn.error = None, None, str(bad)
                if turn.calls > REPAIRS:
                    return turn
                self._call(bench, beside, turn)
        return None

    def _tried(self, bench: Bench, beside: Sequence[Proposal]) -> frozenset[str]:
        sources = [record.source for record in beside] + [
            record.source for record in bench.history if self._charter.no_repeat
        ]
        return frozenset(source.source_id for source in sources if source)

    # --- results of turns ----------------------------------------------------------------------------------------

    def _proposal(self, bench: Bench, turn: ChatTurn) -> ChatProposal:
        assert turn.answer is not None and turn.edited is not None
        return ChatProposal(
            known_edit(bench.task.edits, bench.head, turn.edited), f"{CHAT}{turn.role.name}",
            tuple(dict.fromkeys((*self._cited(turn), *self._focus))), turn.answer.title, turn.edited, turn=turn,
        )  # fmt: skip

    def _cited(self, turn: ChatTurn) -> tuple[str, ...]:
        ids = self._prompts.ids
        return tuple(ids[label] for label in turn.answer.follows if label in ids) if turn.answer else ()

    def _record_turn(self, bench: Bench, turn: ChatTurn) -> None:
        """Add a turn to the notes: the ideas that it follows, new ideas, its note, or why there is no experiment."""
        answer, name = turn.answer, turn.role.name
        self._notes.settle(turn.idea, answer.follows if answer else (), answer.dropped if answer else ())
        if answer is not None:
            self._notes.add(answer.ideas, name)
            if answer.note:
                self._notes.note(name, answer.note, len(bench.history))
        if turn.edited is None:
            fate: Fate = "pass" if answer else "unusable"
            self._lost.append(fate)
            self._record_untried(bench, turn, fate, answer.passed if answer else turn.error)

    def _record_untried(self, bench: Bench, turn: ChatTurn, fate: Fate, reason: str) -> None:
        """Record a turn without an experiment in the ledger, and for the results that all researchers see."""
        title, name, after = turn.answer.title if turn.answer else "", turn.role.name, len(bench.history)
        reason = line(reason, REASON)
        what = f"{title!r} by {name}" if title else f"a turn of {name}"
        reason_shown = f"{name} passed: {reason}" if fate == "pass" else f"{what} was not tried: {reason}"
        self._notes.untried.append((after, reason_shown))
        if (turn.number, fate) not in self._recorded:
            event = TurnEvent(
                run_id=self._context.run_id, number=turn.number, after=after, role=name, fate=fate, title=title,
                reason=reason, directive_ids=self._cited(turn),
            )  # fmt: skip
            self._context.emit(event)


make = ChatResearcher
