"""The model calls of one generation's writers, numbered for resumption, and their highest cost before any is made."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from inner_loop.bench import NoReply
from inner_loop.events import CallEvent
from inner_loop.models import prices
from inner_loop.models.client import ModelClient, Stopped
from inner_loop.models.contract import Message, PromptTooLong, fits, prompt_tokens
from inner_loop.models.provider import litellm
from inner_loop.models.scrub import scrub
from inner_loop.run_context import ModelConfig
from meta.mutators.llm.reply import schema
from programs.common.errors import CredentialMissing, MetaloopError, NotFound

PER_GENERATION = 10_000  # call numbers reserved for each generation
PROMPT_BYTES = 90_000  # a longer prompt is not sent
TRIES = 2  # replies per child, each of which may be repaired once
CURE = "a server with a larger context, a smaller --set reply_tokens, or shorter programs"


@dataclass
class GenerationCalls:
    """``clients`` by their preferred model. ``most``: replies of this generation, repairs included."""

    clients: Mapping[str, ModelClient]
    generation: int
    most: int
    config: ModelConfig
    note: Callable[[str], None]
    stopped: Callable[[], MetaloopError]
    silent: str = ""  # why no model answers any more
    unfit: str = ""  # why the last unanswered prompt did not fit into the context
    _count: int = 0  # of calls so far
    _left_out: set[str] = field(default_factory=set)  # purposes whose prompt is too long

    @property
    def open(self) -> bool:
        return not self.silent and self._count < self.most

    def fits(self, messages: Sequence[Message]) -> bool:
        """Whether a prompt and the longest reply fit into the models' context."""
        return fits(messages, self.config.context_tokens, self.config.reply_tokens)

    def too_long(self, purpose: str, messages: Sequence[Message]) -> None:
        """Note once for each purpose that its shortest prompt does not fit; it is not sent."""
        if purpose not in self._left_out:
            self._left_out.add(purpose)
            tokens, reply = self.config.context_tokens, self.config.reply_tokens
            room = f"a context of {tokens} tokens with a reply of {reply}" if tokens else f"{PROMPT_BYTES} bytes"
            shortest = f"its shortest prompt has about {prompt_tokens(messages)} tokens"
            self.note(f"{purpose} is left out: {shortest}, which do not fit into {room}; {CURE}")

    def ask(self, model: str, messages: Sequence[Message], purpose: str) -> tuple[int, CallEvent | None]:
        """The number of the call, and the reply; None if no model answers any more: the study continues without models.

        Raises CredentialMissing if a key is refused and NotFound if a recording ends, which the user must fix, and the
        exception from ``stopped`` if the study was asked to stop during a wait.
        """
        number = self.generation * PER_GENERATION + self._count
        self._count += 1
        self.unfit = ""
        client, most = self.clients[model], self.config.reply_tokens
        form = schema() if keep_to_schema(self.config) else None
        try:
            return number, client.numbered(number, messages, max_tokens=most, purpose=purpose, form=form)
        except Stopped:
            raise self.stopped() from None
        except NoReply as failure:
            if isinstance(failure.problem, (CredentialMissing, NotFound)):
                raise failure.problem from None
            if isinstance(failure.problem, PromptTooLong):  # a prompt of other parents may fit
                self.unfit = scrub(failure.problem.message)
                return number, None
            self.silent = scrub(failure.problem.message)
            self.note(f"this generation continues without models: {self.silent}")
            return number, None


def keep_to_schema(config: ModelConfig) -> bool:
    """Whether all models do, by LiteLLM's table; any of them may answer."""
    try:
        return bool(config.models) and all(litellm().supports_response_schema(model) for model in config.models)
    except Exception:  # the library may raise anything for an unknown model
        return False


def count_replies(children: int) -> int:
    """The most of one generation, repairs included."""
    return 2 * TRIES * children


def bill(generations: int, children: int, config: ModelConfig) -> prices.Bill:
    """The total if everything takes its worst case: a token has at least one byte."""
    return prices.at_most(config, generations * count_replies(children), PROMPT_BYTES)
