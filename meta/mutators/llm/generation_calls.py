"""The model calls of one generation's mutators: numbered for resumption, limited, and given up if no model answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from inner_loop.models.client import ModelClient, Stopped
from inner_loop.models.context_size import fits, prompt_tokens
from inner_loop.models.contract import Message, NoReply, PromptTooLong, Reply
from inner_loop.models.scrub import scrub
from inner_loop.models.tools import NOTHING, Offer
from programs.errors import CredentialMissing, MetaloopError, NotFound

PER_GENERATION = 10_000  # call numbers reserved for each generation
PROMPT_BYTES = 90_000  # a longer prompt is not sent


class GenerationCalls:
    """``clients`` by their preferred model. ``most``: replies of this generation, repairs included; rounds of tools
    before a reply are not counted."""

    def __init__(
        self,
        clients: Mapping[str, ModelClient],
        *,
        generation: int,
        most: int,
        reply_tokens: int,
        note: Callable[[str], None],
        stopped: Callable[[], MetaloopError],
        context_tokens: int | None = None,
    ) -> None:
        self._clients = clients
        self._next = generation * PER_GENERATION
        self._left = most
        self._reply_tokens = reply_tokens
        self._note = note
        self._stopped = stopped
        self._context_tokens = context_tokens
        self._noted: set[str] = set()
        self.silent = ""  # why no model answers any more
        self.unfit = ""  # why the last unanswered prompt did not fit into the context

    @property
    def open(self) -> bool:
        return not self.silent and self._left > 0

    def fits(self, messages: Sequence[Message], spare: int = 0) -> bool:
        """Whether a prompt and the longest reply fit into the models' context."""
        return fits(messages, self._context_tokens, self._reply_tokens, spare)

    def too_long(self, purpose: str, messages: Sequence[Message], cure: str) -> None:
        """Note once for each job that its shortest prompt does not fit; it is not sent."""
        if purpose not in self._noted:
            self._noted.add(purpose)
            room = f"a context of {self._context_tokens} tokens with a reply of {self._reply_tokens}"
            why = room if self._context_tokens else f"{PROMPT_BYTES} bytes"
            self._note(
                f"{purpose} is left out: its shortest prompt has about {prompt_tokens(messages)} tokens, which do not "
                f"fit into {why}; {cure}"
            )

    def ask(
        self, model: str, messages: Sequence[Message], purpose: str, *, offer: Offer = NOTHING, further: bool = False
    ) -> tuple[int, Reply | None]:
        """The number of the call, and the reply; None if no model answers any more: the study continues without models.

        ``further``: the call continues a conversation.

        Raises CredentialMissing if a key is refused and NotFound if a recording ends, which the user must fix, and the
        exception from ``stopped`` if the study was asked to stop during a wait.
        """
        number, self._next = self._next, self._next + 1
        self._left -= not further
        self.unfit = ""
        client = self._clients[model]
        try:
            most = self._reply_tokens
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
