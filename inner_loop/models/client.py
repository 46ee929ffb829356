"""The client of both loops: answers from recordings, else calls models with retries, within the caps, and records
the calls."""

from __future__ import annotations

import itertools
import json
import math
import random
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from inner_loop.bench import NoReply
from inner_loop.events import CallEvent
from inner_loop.models import prices, provider
from inner_loop.models.contract import SAFE_BYTES, Message, PromptTooLong, prompt_tokens, request_id
from inner_loop.models.provider import Fault, TokenUsage
from inner_loop.models.scrub import scrub
from inner_loop.models.spend_limiter import Cost, SpendLimiter
from inner_loop.run_context import ModelConfig, RunContext, is_replayed
from programs.common.errors import CapReached, Corrupt, CredentialMissing, EnvironmentProblem, MetaloopError, NotFound

EMPTY = 3  # empty replies in a row that count as an answer
FAULTS = 20  # latest faults that an event lists
FIRST_SECONDS = 20.0  # for the first call of a command
LONGEST_WAIT = 60.0  # seconds between two attempts, without a Retry-After
PAUSE = 0.05  # seconds between two checks whether to stop
NO_USAGE = "the reply reports no usage: tokens are estimated"


class Stopped(Exception):
    """The run was asked to stop while a call waited, or its wall time is over."""


@dataclass
class Call:
    """A call in progress: its request, its event so far, its attempts at each model, and the models that refused it."""

    event: CallEvent
    messages: list[Message]
    max_tokens: int
    form: Mapping[str, Any] | None
    jitter: random.Random
    began: float = field(default_factory=time.monotonic)
    tries: Counter[str] = field(default_factory=Counter)
    empty: int = 0
    refused: dict[str, Fault] = field(default_factory=dict)


class ModelClient:
    """The models of one run, or of a whole study if ``context.run_id`` is empty. Threads may share it.

    ``seed`` sets the jitter of the waits. Calls in ``context.recorded`` are answered from there and cost nothing;
    raises Corrupt if such a call had another request. ``first``: number of the first call. ``deadline``: the value of
    ``time.monotonic`` at which waits and attempts end.
    """

    def __init__(self, context: RunContext, seed: int, *, first: int = 0, deadline: float = math.inf) -> None:
        self.context = context
        self._seed, self._deadline, self._numbers = seed, deadline, itertools.count(first)
        # answered calls of an earlier attempt; failed ones are made again
        self._recorded = {event.number: event for event in reversed(context.calls()) if event.status != "failed"}
        self._replayed = read_recording(context.replay, context.run_id) if context.replay else None
        if context.record:
            try:
                context.record.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise EnvironmentProblem(f"{context.record}: {error.strerror}", hint="METALOOP_RECORD=DIR") from None
        self._lock = threading.Lock()
        self._limiter = SpendLimiter.of(context)
        self._until: dict[str, float] = {}  # when a model that failed may be called again
        self._closing = threading.Event()

    def complete(self, messages: Sequence[Message], *, max_tokens: int, purpose: str) -> CallEvent:
        """A reply of at most ``max_tokens`` tokens, as the event of the call. It may be empty, cut off, or a refusal:
        its ``finish`` is the provider's word (stop, length, content_filter).

        ``purpose``: a word or two for the ledger (`turn`, `repair`). Raises as `numbered`.
        """
        return self.numbered(next(self._numbers), messages, max_tokens=max_tokens, purpose=purpose)

    def numbered(
        self,
        number: int,
        messages: Sequence[Message],
        *,
        max_tokens: int,
        purpose: str,
        form: Mapping[str, Any] | None = None,
        reason: str = "",
    ) -> CallEvent:
        """As ``complete``, for callers that number their calls themselves, each number once. ``form``: the JSON
        schema of the reply. ``reason``: why it is made, such as what was wrong with the reply before.

        Raises NoReply; Stopped if the run is to stop while it waits; Corrupt, see the class.
        """
        sent = [message.clean for message in messages]
        request = request_id(self.context.config.models, sent, max_tokens, form)
        if (known := self._recorded.get(number)) is not None:
            if known.request != request:
                raise Corrupt(
                    f"run {self.context.run_id}: call {number} was recorded with request {known.request[:12]}, "
                    f"now it is {request[:12]}",
                    hint="the program, the task or metaloop changed since; start it again as a new run",
                    ids=[self.context.run_id],
                )
            return known
        event = CallEvent(
            run_id=self.context.run_id or None, number=number, purpose=purpose, request=request, tokens=0, usd=0.0,
            wall_seconds=0.0, attempts=0, reason=reason,
        )  # fmt: skip
        if self._replayed is not None:
            return self._replay(event, self._replayed.get((number, request)))
        return self._ask(Call(event, sent, max_tokens, form, random.Random(f"{self._seed} {number}")))

    def close(self) -> None:
        """End waits and start no further attempt; an attempt in flight ends by itself."""
        self._closing.set()

    def _replay(self, event: CallEvent, recorded: CallEvent | None) -> CallEvent:
        if recorded is None:
            message = f"{self.context.replay}: contains no reply to call {event.number} of this run"
            hint = "the program, the task, the seed or metaloop changed since the recording: record again"
            raise NoReply(NotFound(message, hint=hint))
        event = replace(recorded, run_id=event.run_id, number=event.number, purpose=event.purpose)
        self.context.emit(event)
        if event.status != "failed":
            return event
        kind = PromptTooLong if PromptTooLong.WORDS in event.reason else EnvironmentProblem
        raise NoReply(kind(event.reason, hint="the recording contains this failure", ids=[self.context.run_id]))

    def _ask(self, call: Call) -> CallEvent:
        try:
            while True:
                model = self._next_model(call)
                try:
                    call.event = self._attempt(call, model)
                    break
                except Fault as fault:
                    self._note_fault(call, model, fault)
        except (CapReached, CredentialMissing, EnvironmentProblem) as problem:
            self._record(call, "failed", problem.message, keep=not isinstance(problem, CredentialMissing))
            raise NoReply(problem) from None
        except Stopped:
            if call.event.attempts:
                self._record(call, "failed", "the run ended before another attempt", keep=False)
            raise
        return self._record(call, _status(call.event), call.event.reason)

    def _next_model(self, call: Call) -> str:
        """The first model that may be called now, else the one that may be soonest, after the wait. EnvironmentProblem
        or CredentialMissing if all have refused the call, or no time is left."""
        models = [model for model in self.context.config.models if model not in call.refused]
        if not models:
            raise refusal(call.refused)
        now = time.monotonic()
        waits = {model: max(0.0, self._until.get(model, 0.0) - now) for model in models}
        model = min(models, key=waits.__getitem__)
        if waits[model]:
            self._require_time(call, waits[model])
            self._pause(waits[model])
        return model

    def _attempt(self, call: Call, model: str) -> CallEvent:
        """The call's event with the reply of one attempt. Raises Fault, or CapReached."""
        price, tokens_in = prices.price_of(model, self.context.config), prompt_tokens(call.messages)
        cost = prices.estimated(price, tokens_in, call.max_tokens)
        key = self._limiter.start(cost, prices.provider_of(model), self._pause)
        try:
            timeout = min(self.context.config.call_timeout, self._deadline - time.monotonic())
            if timeout <= 0:
                cost = Cost()
                raise Stopped
            call.event = replace(call.event, attempts=call.event.attempts + 1)
            began = time.monotonic()
            reply = provider.ask(model, call.messages, max_tokens=call.max_tokens, timeout=timeout, form=call.form)
            usage = reply.usage or TokenUsage(tokens_in, len(reply.text.encode()) // SAFE_BYTES + 1)
            usd = price.cost(usage) if price else None
            cost = Cost(usage.tokens, usd or 0.0)
            call.event = replace(call.event, tokens=call.event.tokens + cost.tokens, usd=_add(call.event.usd, usd))
        except Fault as fault:
            if fault.billed:  # at an unknown cost: its estimate
                lost_usd = _add(call.event.lost_usd, cost.usd if price else None)
                call.event = replace(call.event, lost_tokens=call.event.lost_tokens + cost.tokens, lost_usd=lost_usd)
            else:
                cost = Cost()
            raise
        finally:
            self._limiter.settle(key, cost)
        if not reply.text.strip() and reply.finish not in ("length", "content_filter"):
            call.empty += 1
            if call.empty < EMPTY:
                raise Fault("empty", "an empty reply")
        return replace(
            call.event, model=model, tokens_in=usage.tokens_in, tokens_out=usage.tokens_out, tokens_cached=usage.cached,
            reply_usd=usd, reply_seconds=time.monotonic() - began, finish=reply.finish, text=reply.text,
            reason="; ".join(filter(None, (call.event.reason, "" if reply.usage else NO_USAGE))),
        )  # fmt: skip

    def _note_fault(self, call: Call, model: str, fault: Fault) -> None:
        """EnvironmentProblem when the time for retries is over. The wait before another attempt doubles with each fault
        of the call, with a jitter of half either way; the other calls of this client wait, too
        (https://aws.amazon.com/builders-library/timeouts-retries-and-backoff-with-jitter/)."""
        faults = (*call.event.faults, f"{model}: {fault.kind}: {fault.reason}"[:200])
        call.event = replace(call.event, faults=faults[-FAULTS:])
        if not fault.passes:
            call.refused[model] = fault
            return
        wait = min(LONGEST_WAIT, self.context.config.backoff * 2.0 ** call.tries[model]) * (0.5 + call.jitter.random())
        call.tries[model] += 1
        if fault.retry_after is not None:
            wait = fault.retry_after * (1.0 + 0.1 * call.jitter.random())
        self._until[model] = max(self._until.get(model, 0.0), time.monotonic() + wait)
        self._require_time(call)

    def _require_time(self, call: Call, wait: float = 0.0) -> None:
        seconds, attempts, faults = time.monotonic() - call.began, call.event.attempts, call.event.faults
        if seconds + wait <= self.context.config.patience:
            return
        last_fault = faults[-1] if faults else "all models are being skipped after faults of other calls"
        raise EnvironmentProblem(
            f"no model answered in {seconds:.0f} s and {attempts} attempt{'' if attempts == 1 else 's'}; "
            f"the last fault: {last_fault}",
            hint="nothing is lost: the same command continues once a model answers",
        )

    def _pause(self, seconds: float) -> None:
        """Wait, but not beyond a request to stop."""
        end = time.monotonic() + seconds
        while not (self._closing.is_set() or self.context.should_stop() or time.monotonic() >= self._deadline):
            left = end - time.monotonic()
            if left <= 0:
                return
            self._closing.wait(min(PAUSE, left))
        raise Stopped

    def _record(self, call: Call, status: str, reason: str, *, keep: bool = True) -> CallEvent:
        """Emit the call's event. ``keep``: also into a recording."""
        event = replace(
            call.event, status=status, reason=scrub(reason), wall_seconds=round(time.monotonic() - call.began, 4)
        )
        self.context.emit(event)
        if keep and self.context.record:
            request = {"models": self.context.config.models, "messages": [asdict(message) for message in call.messages]}
            line = json.dumps({**event.to_record(), "asked": request}, ensure_ascii=False)
            with self._lock, _record_file(self.context.record, self.context.run_id).open("a", encoding="utf-8") as file:
                file.write(line + "\n")
        return event


def _add(usd: float | None, more: float | None) -> float | None:
    return None if usd is None or more is None else usd + more


def _status(event: CallEvent) -> str:
    if event.finish == "content_filter":
        return "refused"
    if not event.text.strip():
        return "empty"
    return "truncated" if event.finish == "length" else "ok"


def _record_file(folder: Path, run_id: str) -> Path:
    """The file with a run's calls, a line for each: its event in the ledger with the prompt, without secrets."""
    return folder / f"{run_id or 'calls'}.jsonl"


def read_recording(folder: Path, run_id: str) -> dict[tuple[int, str], CallEvent]:
    """The recorded calls of one run, by number and request. A call that was made again counts as it ended last; a torn
    last line of a killed run is skipped."""
    if not folder.is_dir():
        raise NotFound(f"{folder}: no recording found", hint="METALOOP_RECORD=DIR makes one")
    path, calls = _record_file(folder, run_id), {}
    lines = path.read_bytes().splitlines(keepends=True) if path.is_file() else []
    for number, line in enumerate(lines, 1):
        try:
            event = CallEvent.parse(line)
            calls[event.number, event.request] = event
        except ValidationError as error:
            if line.endswith(b"\n"):
                hint = "record it again"
                raise Corrupt(f"{path}:{number}: not a recorded call: {error.errors()[0]['msg']}", hint=hint) from None
    return calls


def require_answer(config: ModelConfig) -> None:
    """Call the models once, with a few words, before anything is trained: raises if all refuse the key, the name or the
    request. One that is busy or silent may answer later. Nothing is called where a recording answers."""
    refused: dict[str, Fault] = {}
    for model in () if is_replayed() else config.models:
        try:
            provider.ask(model, [Message("user", "Reply with: ready")], max_tokens=16, timeout=FIRST_SECONDS)
            return
        except Fault as fault:
            if fault.passes:
                return
            refused[model] = fault
    if refused:
        raise refusal(refused)


def refusal(refused: Mapping[str, Fault]) -> MetaloopError:
    """The problem to report if no model accepts this request, however often it is made."""
    model, fault = next(iter(refused.items()))
    if all(f.kind == "key" for f in refused.values()):
        hint = "set a valid key; the same command continues"
        return CredentialMissing(f"{model}: the key is refused: {fault.reason}", hint=hint)
    for model_, long in refused.items():
        if long.kind == "context":
            hint = "--set context_tokens=N to what the server has, or serve the model with a larger context"
            return PromptTooLong(f"{model_}: {PromptTooLong.WORDS}: {long.reason}", hint=hint)
    return EnvironmentProblem(f"{model}: the request is refused: {fault.reason}", hint="try another --model")
