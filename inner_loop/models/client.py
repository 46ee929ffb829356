"""The client of both loops: answers from what is recorded, else asks with patience, within the purse, and tells it."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from inner_loop.kit import Kit
from inner_loop.models import prices, provider
from inner_loop.models.cassette import Recorder, Tape
from inner_loop.models.contract import Message, NoReply, Reply, request_id
from inner_loop.models.lanes import Lanes
from inner_loop.models.patience import Patience
from inner_loop.models.provider import Answer, Fault
from inner_loop.models.purse import Cost, Purse
from inner_loop.models.scrub import scrub
from inner_loop.models.tools import NOTHING, Offer, called
from programs.errors import CapReached, Corrupt, CredentialMissing, EnvironmentProblem, MetaloopError

EMPTY = 3  # empty replies in a row after which the emptiness is the answer
PAUSE = 0.05  # seconds between two looks whether to stop


class Stopped(Exception):
    """Whoever drives the run asked it to stop while a call waited."""


@dataclass
class _Call:
    """One call while it is made: what it asks, what it has met and cost so far (None: not priced)."""

    number: int
    purpose: str
    messages: list[Message]
    max_tokens: int
    request: str
    luck: random.Random
    offer: Offer = NOTHING
    began: float = field(default_factory=time.monotonic)
    attempts: int = 0
    faults: list[str] = field(default_factory=list)
    tokens: int = 0
    lost_tokens: int = 0
    usd: float | None = 0.0
    met: Counter[str] = field(default_factory=Counter)
    refused: dict[str, Fault] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.began

    def add(self, tokens: int, usd: float | None) -> None:
        self.tokens += tokens
        self.usd = None if self.usd is None or usd is None else self.usd + usd


class Client:
    """A Model for one run, or for a whole study where ``kit.run_id`` is empty. Threads may share it.

    ``seed`` draws the jitter of the waits. Calls that ``kit.recorded`` holds are answered from there and cost nothing;
    raises Corrupt where such a call asked something else. ``first``: the number of the first call.
    """

    def __init__(self, kit: Kit, seed: int, *, first: int = 0) -> None:
        staff = kit.staff
        self.kit = kit
        self._seed = seed
        self._next = first
        self._lock = threading.Lock()
        self._recorded = _answered(kit.recorded, kit.run_id)
        self._tape = Tape(kit.replay, kit.run_id) if kit.replay else None
        self._recorder = Recorder(kit.record, kit.run_id) if kit.record else None
        self._purse = Purse(kit.study, max_usd=staff.max_usd, max_tokens=staff.max_tokens)
        self._lanes = Lanes(kit.study / "calls" if kit.study else None, staff.calls_at_once)
        self._patience = Patience(staff.models, staff.backoff)
        self._prices: dict[str, prices.Price | None] = {}
        self._closing = threading.Event()

    def complete(self, messages: Sequence[Message], *, max_tokens: int, purpose: str) -> Reply:
        with self._lock:
            number, self._next = self._next, self._next + 1
        return self.numbered(number, messages, max_tokens=max_tokens, purpose=purpose)

    def numbered(
        self, number: int, messages: Sequence[Message], *, max_tokens: int, purpose: str, offer: Offer = NOTHING
    ) -> Reply:
        """As ``complete``, for callers that number their calls themselves, each number once.

        Raises NoReply; Stopped where the run is to stop while it waits; Corrupt, see the class.
        """
        sent = [message.clean for message in messages]
        request = request_id(self.kit.staff.models, sent, max_tokens, offer)
        known = self._known(number, request)
        if known is not None:
            return known
        luck = random.Random(f"{self._seed} {number}")
        call = _Call(number, purpose, sent, max_tokens, request, luck, offer)
        reply = self._replay(call) if self._tape else self._ask(call)
        self._tell(call, reply, _status(reply), "")
        if self._recorder:
            spent = {"tokens": call.tokens, "usd": call.usd, "lost_tokens": call.lost_tokens}
            self._recorder.write(number, request, self.kit.staff.models, sent, reply, spent)
        return reply

    def close(self) -> None:
        """End waits and let no further attempt start; an attempt in flight ends by itself."""
        self._closing.set()

    # --- answers that cost nothing ---------------------------------------------------------------------------------

    def _known(self, number: int, request: str) -> Reply | None:
        event = self._recorded.get(number)
        if event is None:
            return None
        if event["request"] != request:
            raise Corrupt(
                f"run {self.kit.run_id}: call {number} was recorded with request {event['request'][:12]}, "
                f"now it is {request[:12]}",
                hint="the program, the task or metaloop changed since; start this run anew under another id",
                ids=[self.kit.run_id],
            )
        return Reply(
            text=event["text"], model=event["model"], tokens_in=event["tokens_in"], tokens_out=event["tokens_out"],
            tokens_cached=event["tokens_cached"], usd=event["reply_usd"], wall_seconds=event["reply_seconds"],
            finish=event["finish"], attempts=event["attempts"], calls=called(event.get("tools")),
        )  # fmt: skip

    def _replay(self, call: _Call) -> Reply:
        assert self._tape is not None
        reply, spent = self._tape.reply(call.number, call.request)
        call.attempts, call.tokens, call.usd = reply.attempts, spent["tokens"], spent["usd"]
        call.lost_tokens = spent["lost_tokens"]
        return reply

    # --- asking ----------------------------------------------------------------------------------------------------

    def _ask(self, call: _Call) -> Reply:
        try:
            while True:
                model = self._whom(call)
                try:
                    return self._attempt(call, model)
                except Fault as fault:
                    self._met(call, model, fault)
        except NoReply as gone:
            self._tell(call, None, "failed", gone.problem.message)
            raise

    def _whom(self, call: _Call) -> str:
        """The model to ask now, after the wait that it takes. Raises NoReply where there is none, or no time left."""
        while True:
            found = self._patience.next(tuple(call.refused))
            if found is None:
                raise NoReply(_refused(call.refused))
            model, wait = found
            if wait <= 0:
                return model
            if call.seconds + wait > self.kit.staff.patience:
                raise NoReply(self._silent(call))
            self._pause(wait)

    def _attempt(self, call: _Call, model: str) -> Reply:
        """One attempt, reserved before and settled after. Raises Fault, NoReply where a cap is reached."""
        with self._lanes.one(prices.provider_of(model), self._pause):
            price = self._price(model)
            most = prices.most_tokens(call.messages, call.offer)
            worst = Cost(most + call.max_tokens, price.of(most, call.max_tokens) if price else 0.0)
            try:
                held = self._purse.reserve(worst)
            except CapReached as cap:
                raise NoReply(cap) from None
            took = worst  # where nobody tells what an attempt cost, it cost what it could
            began = time.monotonic()
            call.attempts += 1
            try:
                timeout = self.kit.staff.call_timeout
                answer = provider.ask(
                    model, call.messages, max_tokens=call.max_tokens, timeout=timeout, offer=call.offer
                )
                usd = _usd(answer, price)
                took = Cost(answer.tokens_in + answer.tokens_out, usd or 0.0)
                call.add(took.tokens, usd)
            except Fault as fault:
                if not fault.billed:
                    took = Cost()
                call.lost_tokens += took.tokens
                raise
            finally:
                self._purse.settle(held, took)
        spoke = answer.text.strip() or answer.calls or answer.finish in ("length", "content_filter")
        if not spoke and call.met["empty"] < EMPTY - 1:
            call.met["empty"] += 1
            raise Fault("empty", "an empty reply")
        return Reply(
            text=answer.text, model=model, tokens_in=answer.tokens_in, tokens_out=answer.tokens_out,
            tokens_cached=answer.tokens_cached, usd=usd, wall_seconds=time.monotonic() - began,
            finish=answer.finish, attempts=call.attempts, calls=answer.calls,
        )  # fmt: skip

    def _met(self, call: _Call, model: str, fault: Fault) -> None:
        """Note a fault; raises NoReply where patience is at its end."""
        call.faults.append(f"{model}: {fault.kind}: {fault.reason}"[:200])
        if not fault.passes:
            call.refused[model] = fault
            return
        call.met[model] += 1
        self._patience.failed(model, fault, call.met[model], call.luck)
        if call.seconds > self.kit.staff.patience:
            raise NoReply(self._silent(call))

    def _silent(self, call: _Call) -> MetaloopError:
        met = call.faults[-1] if call.faults else "all of them are being left alone after faults of other calls"
        return EnvironmentProblem(
            f"no model answered in {call.seconds:.0f} s and {call.attempts} attempts; the last fault: {met}",
            hint="nothing is lost: the same command goes on once a model answers",
        )

    def _pause(self, seconds: float) -> None:
        """Wait, but not beyond a request to stop."""
        end = time.monotonic() + seconds
        while not self._closing.is_set() and not self.kit.should_stop():
            left = end - time.monotonic()
            if left <= 0:
                return
            self._closing.wait(min(PAUSE, left))
        raise Stopped

    def _price(self, model: str) -> prices.Price | None:
        if model not in self._prices:
            self._prices[model] = prices.price_of(model, self.kit.staff)
        return self._prices[model]

    # --- telling ---------------------------------------------------------------------------------------------------

    def _tell(self, call: _Call, reply: Reply | None, status: str, reason: str) -> None:
        """The `call` event: tokens, usd and wall seconds are of all attempts; `lost_tokens` nobody told the true
        number of."""
        about = {"run_id": self.kit.run_id} if self.kit.run_id else {}
        self.kit.emit(
            {
                "kind": "call",
                **about,
                "number": call.number,
                "purpose": call.purpose,
                "model": reply.model if reply else None,
                "status": status,
                "tokens": call.tokens,
                "lost_tokens": call.lost_tokens,
                "usd": call.usd,
                "wall_seconds": round(call.seconds, 4),
                "attempts": call.attempts,
                "faults": call.faults[-20:],
                "reason": scrub(reason),
                "request": call.request,
                "tokens_in": reply.tokens_in if reply else 0,
                "tokens_out": reply.tokens_out if reply else 0,
                "tokens_cached": reply.tokens_cached if reply else 0,
                "reply_usd": reply.usd if reply else None,
                "reply_seconds": reply.wall_seconds if reply else 0.0,
                "finish": reply.finish if reply else "",
                "text": reply.text if reply else "",
                **({"tools": [asdict(tool) for tool in reply.calls]} if reply and reply.calls else {}),
            }
        )


def _answered(recorded: Sequence[Mapping[str, Any]], run_id: str) -> dict[int, Mapping[str, Any]]:
    """The calls of an earlier attempt that were answered, by number; one that failed is made again."""
    mine = (e for e in recorded if e.get("kind") == "call" and e.get("run_id", "") == run_id)
    found: dict[int, Mapping[str, Any]] = {}
    for event in mine:
        if event["status"] != "failed":
            found.setdefault(int(event["number"]), event)
    return found


def _usd(answer: Answer, price: prices.Price | None) -> float | None:
    if price is None:
        return None
    if price.given or answer.usd is None:
        return price.of(answer.tokens_in, answer.tokens_out)
    return answer.usd


def _status(reply: Reply) -> str:
    if reply.finish == "content_filter":
        return "refused"
    if not reply.text.strip() and not reply.calls:
        return "empty"
    return "truncated" if reply.finish == "length" else "ok"


def _refused(refused: Mapping[str, Fault]) -> MetaloopError:
    """What to tell of models that will not answer this request however often it is made."""
    model, fault = next(iter(refused.items()))
    if all(f.kind == "key" for f in refused.values()):
        hint = "set a key that is valid; the same command goes on"
        return CredentialMissing(f"{model}: the key is refused: {fault.reason}", hint=hint)
    return EnvironmentProblem(f"{model}: the request is refused: {fault.reason}", hint="another --model may take it")
