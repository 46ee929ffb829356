"""The model calls of one generation's writers, numbered for resumption, and their highest cost before any is made."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from analysis.ledger.writing_events import ToolRound, ToolUse
from inner_loop.events import CallEvent
from inner_loop.models import prices
from inner_loop.models.client import ModelClient, Stopped
from inner_loop.models.contract import Message, NoReply, PromptTooLong, fits, offer_tokens, prompt_tokens
from inner_loop.models.provider import litellm
from inner_loop.models.scrub import scrub
from inner_loop.models.tools import NOTHING, Offer
from inner_loop.run_context import ModelConfig
from meta.mutators.llm.traces import READ_BYTES, Toolbox
from programs.errors import CredentialMissing, MetaloopError, NotFound

PER_GENERATION = 10_000  # call numbers reserved for each generation
PROMPT_BYTES = 90_000  # a longer prompt is not sent
ROUNDS, AT_ONCE = 6, 4  # of tool calls for one proposal, and calls of one round
TOOLS = 4_000  # bytes of the tools' descriptions and of their error messages
TRIES = 2  # replies per child, each of which may be repaired once
FULL = "(left out: your context is full; reply now)"
CURE = "a server with a larger context, a smaller --set reply_tokens, or shorter programs"


@dataclass(frozen=True)
class Talk:
    """``number`` of the last call; ``reply`` is None if no model answered; tokens and dollars of all calls."""

    number: int
    reply: CallEvent | None
    tokens: int
    usd: float | None
    rounds: tuple[ToolRound, ...] = ()


class GenerationCalls:
    """``clients`` by their preferred model. ``most``: replies of this generation, repairs included; rounds of tools
    before a reply are not counted."""

    def __init__(
        self, clients: Mapping[str, ModelClient], *, generation: int, most: int, config: ModelConfig,
        note: Callable[[str], None], stopped: Callable[[], MetaloopError],
    ) -> None:  # fmt: skip
        self._clients = clients
        self._next = generation * PER_GENERATION
        self._left = most
        self._config = config
        self._note = note
        self._stopped = stopped
        self._noted: set[str] = set()
        self.silent = ""  # why no model answers any more
        self.unfit = ""  # why the last unanswered prompt did not fit into the context

    @property
    def open(self) -> bool:
        return not self.silent and self._left > 0

    def fits(self, messages: Sequence[Message], spare: int = 0) -> bool:
        """Whether a conversation and the longest reply fit into the models' context beside so many ``spare`` tokens."""
        return fits(messages, self._config.context_tokens, self._config.reply_tokens, spare)

    def too_long(self, purpose: str, messages: Sequence[Message]) -> None:
        """Note once for each purpose that its shortest prompt does not fit; it is not sent."""
        if purpose not in self._noted:
            self._noted.add(purpose)
            tokens, reply = self._config.context_tokens, self._config.reply_tokens
            room = f"a context of {tokens} tokens with a reply of {reply}" if tokens else f"{PROMPT_BYTES} bytes"
            shortest = f"its shortest prompt has about {prompt_tokens(messages)} tokens"
            self._note(f"{purpose} is left out: {shortest}, which do not fit into {room}; {CURE}")

    def converse(
        self, model: str, messages: Sequence[Message], purpose: str, form: Mapping[str, object], box: Toolbox | None
    ) -> Talk:
        """Call the model; if the reply calls tools, answer them and call again. ``form``: the schema of the last reply,
        sent where models keep to one and no tools are offered. Raises as `ask`."""
        said, rounds = list(messages), list[ToolRound]()
        tokens, usd, priced, full = 0, 0.0, True, False
        plain = Offer(form=form) if _all_can(self._config, "supports_response_schema") else NOTHING
        while True:
            offer = Offer(box.tools, closed=full or len(rounds) == ROUNDS) if box else plain
            number, reply = self.ask(model, said, purpose, offer=offer, further=bool(rounds))
            if reply is not None:
                tokens += reply.tokens
                usd, priced = usd + (reply.usd or 0.0), priced and reply.usd is not None
            if reply is None or not reply.tools or box is None or offer.closed:
                return Talk(number, reply, tokens, usd if priced else None, tuple(rounds))
            said.append(Message("assistant", reply.text, calls=reply.tools[:AT_ONCE]))
            results = []
            for call in reply.tools[:AT_ONCE]:
                text = box.answer(call)
                if not self.fits([*said, Message("tool", text)], offer_tokens(offer)):
                    text, full = FULL, True
                said.append(Message("tool", text, answers=call.id))
                results.append(ToolUse(call.name, call.arguments, said[-1].clean.text))
            rounds.append(ToolRound(number, reply.text, tuple(results)))

    def ask(
        self, model: str, messages: Sequence[Message], purpose: str, *, offer: Offer = NOTHING, further: bool = False
    ) -> tuple[int, CallEvent | None]:
        """The number of the call, and the reply; None if no model answers any more: the study continues without models.

        ``further``: the call continues a conversation.

        Raises CredentialMissing if a key is refused and NotFound if a recording ends, which the user must fix, and the
        exception from ``stopped`` if the study was asked to stop during a wait.
        """
        number, self._next = self._next, self._next + 1
        self._left -= not further
        self.unfit = ""
        client, most = self._clients[model], self._config.reply_tokens
        try:
            return number, client.numbered(number, messages, max_tokens=most, purpose=purpose, offer=offer)
        except Stopped:
            raise self._stopped() from None
        except NoReply as gone:
            if isinstance(gone.problem, (CredentialMissing, NotFound)):
                raise gone.problem from None
            if isinstance(gone.problem, PromptTooLong):  # a prompt of other parents may fit
                self.unfit = scrub(gone.problem.message)
                return number, None
            self.silent = scrub(gone.problem.message)
            self._note(f"this generation continues without models: {self.silent}")
            return number, None


def _all_can(config: ModelConfig, what: str) -> bool:
    """Whether all models can, by LiteLLM's table; any of them may answer."""
    try:
        return bool(config.models) and all(getattr(litellm(), what)(model) for model in config.models)
    except Exception:  # the library may raise anything for an unknown model
        return False


def calls_tools(config: ModelConfig) -> bool:
    """Whether all models call functions, by LiteLLM's table."""
    return _all_can(config, "supports_function_calling")


def reads_traces(config: ModelConfig) -> bool:
    """Whether writers get tools; what is not set is decided by LiteLLM's table."""
    return config.traces == "tools" or (config.traces == "auto" and calls_tools(config))


def replies(children: int) -> int:
    """The most of one generation, repairs included."""
    return 2 * TRIES * children


def bill(generations: int, children: int, config: ModelConfig) -> prices.Bill:
    """The total if everything takes its worst case: a token has at least one byte, and before a reply that is no
    repair there may be rounds of tools."""
    rounds = ROUNDS if reads_traces(config) else 0
    talk = READ_BYTES + TOOLS + rounds * config.reply_tokens if rounds else 0
    return prices.at_most(config, generations * (replies(children) + rounds * TRIES * children), PROMPT_BYTES + talk)
