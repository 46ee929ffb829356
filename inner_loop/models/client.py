"""The client of both loops: answers from recordings, else calls models with retries, within the caps, and records
the calls."""

from __future__ import annotations

import itertools
import math
import random
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from inner_loop.events import CallEvent
from inner_loop.models import bounds, context_size, prices, provider
from inner_loop.models.call import Call, take_over
from inner_loop.models.call_slots import CallSlots
from inner_loop.models.cassette import RecordedReplies, Recorder
from inner_loop.models.contract import Message, NoReply, PromptTooLong, Reply, request_id
from inner_loop.models.provider import Fault, ProviderReply
from inner_loop.models.retry_policy import RetryPolicy
from inner_loop.models.scrub import scrub
from inner_loop.models.spend_limiter import Cost, Share, SpendLimiter
from inner_loop.models.tools import NOTHING, Offer
from inner_loop.run_context import ModelConfig, RunContext
from programs.errors import CapReached, Corrupt, CredentialMissing, EnvironmentProblem, MetaloopError

USEFUL = 1000  # tokens of a reply; what a cap leaves is used down to this length
EMPTY = 3  # empty replies in a row that count as an answer
FIRST_SECONDS = 20.0  # for the first call of a command
PAUSE = 0.05  # seconds between two checks whether to stop


class Stopped(Exception):
    """The run was asked to stop while a call waited, or its wall time is over."""


class ModelClient:
    """The models of one run, or of a whole study if ``context.run_id`` is empty. Threads may share it.

    ``seed`` sets the jitter of the waits. Calls in ``context.recorded`` are answered from there and cost nothing;
    raises Corrupt if such a call had another request. ``first``: number of the first call. ``deadline``: the value of
    ``time.monotonic`` at which waits and attempts end.
    """

    def __init__(
        self,
        context: RunContext,
        seed: int,
        *,
        first: int = 0,
        deadline: float = math.inf,
    ) -> None:
        config = context.config
        self.context = context
        self._seed = seed
        self._next = first
        self._lock = threading.Lock()
        mine = context.calls()
        self._recorded = _answered(mine)
        self._recorded_counts = Counter(event.number for event in mine)
        self._tape = RecordedReplies(context.replay, context.run_id) if context.replay else None
        self._recorder = Recorder(context.record, context.run_id, config) if context.record else None
        self._limiter = SpendLimiter(
            context.study, max_usd=config.max_usd, max_tokens=config.max_tokens, share=Share.of(context)
        )
        self._slots = CallSlots(context.study / "calls" if context.study else None, config.calls_at_once)
        self._patience = RetryPolicy(config.models, config.backoff)
        self._prices: dict[str, prices.TokenPrice | None] = {}
        self._used: frozenset[str] = frozenset()
        self._closing = threading.Event()
        self._deadline = deadline
        if self._tape is None:
            take_over(self._limiter, context.run_id, mine, context.emit)
            self._used = self._limiter.buried()

    def complete(self, messages: Sequence[Message], *, max_tokens: int, purpose: str) -> Reply:
        with self._lock:
            number, self._next = self._next, self._next + 1
        return self.numbered(number, messages, max_tokens=max_tokens, purpose=purpose)

    def numbered(
        self, number: int, messages: Sequence[Message], *, max_tokens: int, purpose: str, offer: Offer = NOTHING
    ) -> Reply:
        """As ``complete``, for callers that number their calls themselves, each number once.

        Raises NoReply; Stopped if the run is to stop while it waits; Corrupt, see the class.
        """
        sent = [message.clean for message in messages]
        request = request_id(self.context.config.models, sent, max_tokens, offer)
        known = self._known(number, request)
        if known is not None:
            return known
        luck, account = random.Random(f"{self._seed} {number}"), self._account(number)
        call = Call(self.context.run_id, number, purpose, sent, max_tokens, request, luck, account, offer)
        try:
            reply = self._replay(call) if self._tape else self._ask(call)
        except NoReply as gone:
            if self._recorder and not isinstance(gone.problem, CredentialMissing):
                self._recorder.write_silence(call, scrub(gone.problem.message))
            raise
        self._record(call, reply, _status(reply), "")
        if self._recorder:
            self._recorder.write(call, self.context.config.models, reply)
        return reply

    def close(self) -> None:
        """End waits and start no further attempt; an attempt in flight ends by itself."""
        self._closing.set()

    # --- answers that cost nothing ---------------------------------------------------------------------------------

    def _known(self, number: int, request: str) -> Reply | None:
        event = self._recorded.get(number)
        if event is None:
            return None
        if event.request != request:
            raise Corrupt(
                f"run {self.context.run_id}: call {number} was recorded with request {event.request[:12]}, "
                f"now it is {request[:12]}",
                hint="the program, the task or metaloop changed since; start it again as a new run",
                ids=[self.context.run_id],
            )
        return Reply(
            text=event.text,
            model=event.model or "",
            tokens_in=event.tokens_in,
            tokens_out=event.tokens_out,
            tokens_cached=event.tokens_cached,
            usd=event.reply_usd,
            wall_seconds=event.reply_seconds,
            finish=event.finish,
            attempts=event.attempts,
            calls=event.tools or (),
        )

    def _replay(self, call: Call) -> Reply:
        assert self._tape is not None
        reply, spent = self._tape.reply(call.number, call.request)
        call.attempts = spent["attempts"] if isinstance(reply, str) else reply.attempts
        call.tokens, call.usd = spent["tokens"], spent["usd"]
        call.lost_tokens, call.lost_usd = spent["lost_tokens"], spent.get("lost_usd")
        if isinstance(reply, str):
            self._record(call, None, "failed", reply)
            kind = PromptTooLong if PromptTooLong.WORDS in reply else EnvironmentProblem
            raise NoReply(kind(reply, hint="the recording contains this failure", ids=[self.context.run_id]))
        return reply

    # --- calling models --------------------------------------------------------------------------------------------

    def _ask(self, call: Call) -> Reply:
        try:
            while True:
                model = self._next_model(call)
                try:
                    return self._attempt(call, model)
                except Fault as fault:
                    self._met(call, model, fault)
        except NoReply as gone:
            self._record(call, None, "failed", gone.problem.message)
            raise
        except Stopped:
            if call.attempts:
                self._record(call, None, "failed", "the run ended before another attempt")
            raise

    def _next_model(self, call: Call) -> str:
        """The model to call now, after any necessary wait. Raises NoReply if there is none, or no time left."""
        while True:
            choice = self._patience.next(tuple(call.refused))
            if choice is None:
                raise NoReply(refusal(call.refused))
            model, wait = choice
            if wait <= 0:
                return model
            if call.seconds + wait > self.context.config.patience:
                raise NoReply(self._silent(call))
            self._pause(wait)

    def _attempt(self, call: Call, model: str) -> Reply:
        """One attempt: reserved before it, settled after it or when the call is recorded. Raises Fault, or NoReply
        at a cap."""
        with self._slots.one(prices.provider_of(model), self._pause):
            price = self._price(model)
            timeout = min(self.context.config.call_timeout, self._deadline - time.monotonic())
            if timeout <= 0:
                raise Stopped
            self._require_room(call)
            cap = self._reserve(call, model, price)
            began = time.monotonic()
            call.attempts += 1
            try:
                answer = provider.ask(model, call.messages, max_tokens=call.limit, timeout=timeout, offer=call.offer)
            except Fault as fault:
                lost = self._most(call, model, price) if fault.billed else Cost()
                if fault.billed:  # cost unknown: count the worst case
                    call.lose(lost.tokens, lost.usd if price else None)
                self._limiter.settle(call.account, lost, call.so_far())
                raise
        usd = _usd(answer, price)
        took = Cost(answer.tokens_in + answer.tokens_out, usd or 0.0)
        call.add(took.tokens, usd)
        if self._was_shortened(call, answer.tokens_in):
            self._limiter.settle(call.account, took, call.so_far())
            raise Fault("context", f"the server shortened the prompt to {answer.tokens_in:,} tokens without an error")
        spoke = answer.text.strip() or answer.calls or answer.finish in ("length", "content_filter")
        if not spoke and call.met["empty"] < EMPTY - 1:
            call.met["empty"] += 1
            self._limiter.settle(call.account, took, call.so_far())
            raise Fault("empty", "an empty reply")
        if cap is not None and answer.finish == "length":
            self._limiter.settle(call.account, took, call.so_far())
            message = f"{cap.message}; the reply was cut off at the {call.limit} tokens that were left"
            raise NoReply(type(cap)(message, hint=cap.hint))
        call.held = took
        return Reply(
            text=answer.text,
            model=model,
            tokens_in=answer.tokens_in,
            tokens_out=answer.tokens_out,
            tokens_cached=answer.tokens_cached,
            usd=usd,
            wall_seconds=time.monotonic() - began,
            finish=answer.finish,
            attempts=call.attempts,
            calls=answer.calls,
        )

    def _require_room(self, call: Call) -> None:
        """Raise Fault, before anything is sent, for a prompt that cannot fit. Of several models each may have another
        context, so their servers decide."""
        config, least = self.context.config, context_size.least_tokens(call.messages, call.offer)
        if config.context_tokens is not None and len(config.models) == 1 and least >= config.context_tokens:
            about = f"at least {least:,} tokens, the model's context has {config.context_tokens:,}"
            raise Fault("context", f"the prompt has {about}; it was not sent")

    def _was_shortened(self, call: Call, tokens_in: int) -> bool:
        """Whether the server dropped a part of the prompt, as Ollama does without an error: the prompt may have been
        too long, and the reported tokens are far too few for it."""
        context_tokens, size = self.context.config.context_tokens, context_size.bytes_of(call.messages)
        if context_tokens is None or size <= context_size.SAFE_BYTES * context_tokens:
            return False
        return 0 < tokens_in < size / context_size.SHORTENED_BYTES

    def _reserve(self, call: Call, model: str, price: prices.TokenPrice | None) -> CapReached | None:
        """Reserve the worst case of an attempt: by the bytes of its prompt or, if that exceeds a cap, by the model's
        own tokens if they can be counted. At a cap, wait for reservations of other calls; then the reply is limited to
        what the cap leaves, and the cap is returned. Raises NoReply if no useful reply fits."""
        about = call.so_far() if price else replace(call.so_far(), lost_usd=None)
        call.limit, reached = call.max_tokens, None
        by_bytes = bounds.most_tokens(call.messages, call.offer)
        if self._refused(call, _worst(price, by_bytes, call.limit), about) is None:
            return None
        while (cap := self._refused(call, self._most(call, model, price), about)) is not None:
            held = self._limiter.others_hold(call.account)
            call.limit, reached = self._affordable(call, model, price), cap
            if held or self._limiter.others_hold(call.account):  # before the room was read, or since
                call.limit, reached = call.max_tokens, None
                self._pause(PAUSE)
                continue
            if call.limit < min(call.max_tokens, USEFUL):
                raise NoReply(cap)
        return reached

    def _refused(self, call: Call, worst: Cost, about: CallEvent) -> CapReached | None:
        """Reserve; the cap that leaves less."""
        try:
            self._limiter.reserve(call.account, worst, about)
        except CapReached as cap:
            return cap
        return None

    def _affordable(self, call: Call, model: str, price: prices.TokenPrice | None) -> int:
        """The longest reply that the caps leave room for."""
        tokens, usd = self._limiter.room()
        tokens_in = bounds.counted_tokens(model, call.messages, call.offer)
        most = min(float(call.max_tokens), tokens - tokens_in)
        if price and price.tokens_out > 0:
            most = min(most, (usd - price.most(tokens_in, 0)) / price.tokens_out - 1)  # one less: rounding
        return max(0, int(most))

    def _most(self, call: Call, model: str, price: prices.TokenPrice | None) -> Cost:
        """The highest possible cost of an attempt."""
        tokens_in = bounds.counted_tokens(model, call.messages, call.offer)
        return _worst(price, tokens_in, call.limit)

    def _met(self, call: Call, model: str, fault: Fault) -> None:
        """Note a fault; raises NoReply when the time for retries is over."""
        call.faults.append(f"{model}: {fault.kind}: {fault.reason}"[:200])
        if not fault.passes:
            call.refused[model] = fault
            return
        call.met[model] += 1
        self._patience.failed(model, fault, call.met[model], call.luck)
        if call.seconds > self.context.config.patience:
            raise NoReply(self._silent(call))

    def _silent(self, call: Call) -> MetaloopError:
        met = call.faults[-1] if call.faults else "all models are being skipped after faults of other calls"
        tried = "one attempt" if call.attempts == 1 else f"{call.attempts} attempts"
        return EnvironmentProblem(
            f"no model answered in {call.seconds:.0f} s and {tried}; the last fault: {met}",
            hint="nothing is lost: the same command continues once a model answers",
        )

    def _pause(self, seconds: float) -> None:
        """Wait, but not beyond a request to stop."""
        end = time.monotonic() + seconds
        while not self._closing.is_set() and not self.context.should_stop() and time.monotonic() < self._deadline:
            left = end - time.monotonic()
            if left <= 0:
                return
            self._closing.wait(min(PAUSE, left))
        raise Stopped

    def _price(self, model: str) -> prices.TokenPrice | None:
        if model not in self._prices:
            self._prices[model] = prices.price_of(model, self.context.config)
        return self._prices[model]

    # --- recording ---------------------------------------------------------------------------------------------------

    def _record(self, call: Call, reply: Reply | None, status: str, reason: str) -> None:
        """Record the call, then close its account: after a kill in between, the account is still there."""
        self.context.emit(call.event(reply, status, scrub(reason)))
        if self._tape is None and call.attempts:
            self._limiter.finish(call.account, call.held or Cost())

    def _account(self, number: int) -> str:
        """The name of a call in purse.json: the n-th with this number, after n in the ledger."""
        names = (f"{self.context.run_id}:{number}:{count}" for count in itertools.count(self._recorded_counts[number]))
        return next(name for name in names if name not in self._used)


def _worst(price: prices.TokenPrice | None, tokens_in: int, tokens_out: int) -> Cost:
    return Cost(tokens_in + tokens_out, price.most(tokens_in, tokens_out) if price else 0.0)


def _answered(events: Sequence[CallEvent]) -> dict[int, CallEvent]:
    """The answered calls of an earlier attempt, by number; failed calls are made again."""
    answered: dict[int, CallEvent] = {}
    for event in events:
        if event.status != "failed":
            answered.setdefault(event.number, event)
    return answered


def _usd(answer: ProviderReply, price: prices.TokenPrice | None) -> float | None:
    """The cost of an answer: LiteLLM's figure, else by the price, including cached tokens."""
    if price is None:
        return None
    if price.given or answer.usd is None:
        return price.of(answer.tokens_in, answer.tokens_out, answer.tokens_cached, answer.tokens_written)
    return answer.usd


def _status(reply: Reply) -> str:
    if reply.finish == "content_filter":
        return "refused"
    if not reply.text.strip() and not reply.calls:
        return "empty"
    return "truncated" if reply.finish == "length" else "ok"


def require_answer(config: ModelConfig) -> None:
    """Call the models once, with a few words, before anything is trained: raises if all refuse the key, the name or the
    request. One that is busy or silent may answer later."""
    refused: dict[str, Fault] = {}
    for model in config.models:
        try:
            provider.ask(model, [Message("user", "Reply with: ready")], max_tokens=16, timeout=FIRST_SECONDS)
            return
        except Fault as fault:
            if fault.passes:
                return
            refused[model] = fault
    raise refusal(refused)


def refusal(refused: Mapping[str, Fault]) -> MetaloopError:
    """The problem to report if no model accepts this request, however often it is made."""
    model, fault = next(iter(refused.items()))
    if all(f.kind == "key" for f in refused.values()):
        hint = "set a valid key; the same command continues"
        return CredentialMissing(f"{model}: the key is refused: {fault.reason}", hint=hint)
    if any(f.kind == "context" for f in refused.values()):
        model, fault = next((name, f) for name, f in refused.items() if f.kind == "context")
        hint = "serve the model with a larger context (llama-server -c 16384, OLLAMA_CONTEXT_LENGTH=16384), or set "
        return PromptTooLong(
            f"{model}: {PromptTooLong.WORDS}: {fault.reason}", hint=hint + "--set context_tokens to what it has"
        )
    return EnvironmentProblem(f"{model}: the request is refused: {fault.reason}", hint="try another --model")
