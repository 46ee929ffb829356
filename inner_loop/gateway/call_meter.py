"""Meters an agent's model calls: the worst case is reserved before a call, the actual cost is settled after it.

Caps, prices and call slots are those of the chat researcher. A call of unknown cost (its connection broke, it took too
long, or its reply reports no usage) counts as the worst case.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from pydantic import JsonValue

from inner_loop.events import CallEvent
from inner_loop.gateway.fields import RequestRefused
from inner_loop.gateway.prompt_size import PromptSizes
from inner_loop.gateway.request import ModelRequest
from inner_loop.gateway.route import Route
from inner_loop.gateway.usage import ReplyReader, TokenUsage
from inner_loop.models import prices
from inner_loop.models.call import take_over
from inner_loop.models.call_slots import CallSlots
from inner_loop.models.provider import litellm
from inner_loop.models.scrub import scrub
from inner_loop.models.spend_limiter import Cost, Share, SpendLimiter
from inner_loop.run_context import RunContext
from programs.errors import CapReached, EnvironmentProblem, MetaloopError, UsageError

UNKNOWN_REPLY = 32_768  # longest reply in tokens of an unknown model, if a cap applies and the request sets no length
FAILED = 1000  # free failed calls of a run that are recorded one by one
_LOOK_SECONDS = 0.02
_PAUSE_SECONDS = 300.0  # wait for this agent's other calls to settle before a cap counts as reached


@dataclass(frozen=True)
class Tariff:
    """The cost of a model: ``price`` of the dearest tokens of each side, LiteLLM's ``name``, the ``longest`` reply."""

    name: str
    price: prices.TokenPrice | None
    longest: int | None

    def usd(self, usage: TokenUsage) -> float | None:
        """LiteLLM's figure, with its discounts and surcharges; if the user gave a price, by that."""
        if self.price is None:
            return None
        if not self.price.given:
            try:
                return float(sum(litellm().cost_per_token(model=self.name, usage_object=_theirs(usage))))
            except Exception:  # the library may raise anything if its map is incomplete
                pass
        return self.price.of(usage.tokens_in, usage.tokens_out, usage.cached, usage.written)


class CallMeter:
    """Meters the calls of one run; threads share it. ``problem``: why the run cannot continue, once a cap is
    reached."""

    def __init__(self, context: RunContext) -> None:
        config = context.config
        self.problem: MetaloopError | None = None
        self.run_id = context.run_id
        self._context = context
        self._limiter = SpendLimiter(
            context.study, max_usd=config.max_usd, max_tokens=config.max_tokens, share=Share.of(context)
        )
        self._slots = CallSlots(context.study / "calls" if context.study else None, config.calls_at_once)
        self._tariffs: dict[tuple[str, str], Tariff] = {}
        self._sizes = PromptSizes()
        self._open: set[MeteredCall] = set()
        self._failed = 0
        self._lock = threading.Lock()
        self._closing = threading.Event()
        mine = context.calls()
        numbers = [event.number for event in mine] + take_over(self._limiter, context.run_id, mine, context.emit)
        self._next = max(numbers, default=-1) + 1

    @contextmanager
    def call(self, ask: ModelRequest, route: Route) -> Iterator[MeteredCall]:
        """One call, from its reservation to its settlement. Raises RequestRefused if it may not be made."""
        with self._slots.one(route.name, self._pause):
            call = self._reserve(ask, self._tariff(route, ask.model))
            try:
                yield call
            finally:
                call.lost("the call was aborted")  # unless it was settled

    def close(self, seconds: float) -> None:
        """Start no further calls, give those in flight ``seconds`` to end, and settle the rest at their worst case."""
        self._closing.set()
        end = time.monotonic() + seconds
        while self._open and time.monotonic() < end:
            time.sleep(_LOOK_SECONDS)
        for call in list(self._open):
            call.lost("the run ended during the call")

    def settle(self, call: MeteredCall, cost: Cost, event: CallEvent) -> None:
        """Called once for each call. The event is written before purse.json, so a run resumed after a kill finds
        both, or only the account."""
        with self._lock:
            bare = event.status == "failed" and not event.lost_tokens
            self._failed += bare
        with self.watched():
            if not bare or self._failed <= FAILED:
                self._context.emit(event)
            self._limiter.finish(call.account, cost)
        with self._lock:
            self._open.discard(call)

    def learn(self, ask: ModelRequest, usage: TokenUsage) -> None:
        """The API has reported the size of a prompt."""
        with self._lock:
            self._sizes.learn(ask.parts, usage.tokens_in)

    @contextmanager
    def watched(self) -> Iterator[None]:
        """An error of our own in here ends the run; in the thread of a call it would go unnoticed."""
        try:
            yield
        except MetaloopError as error:
            self.problem = self.problem or error
        except OSError as error:  # the disk of purse.json
            message = f"{error.filename or 'the study'}: {error.strerror or error}"
            self.problem = self.problem or EnvironmentProblem(
                message, hint="the same command continues once this is fixed"
            )

    def _pause(self, seconds: float) -> None:
        if self._closing.wait(seconds):
            raise RequestRefused(503, "the run is ending")

    def _reserve(self, ask: ModelRequest, tariff: Tariff) -> MeteredCall:
        if self._closing.is_set():
            raise RequestRefused(503, "the run is ending")
        if self._context.config.max_usd is not None and tariff.price is None and self.problem is None:
            self.problem = UsageError(
                f"--max-usd: no price is known for {ask.model}, which the agent asks for",
                hint=f"give dollars per million tokens, --set prices={tariff.name}=0.5/1.5; or cap by --max-tokens",
                ids=[self._context.run_id],
            )
        end = time.monotonic() + _PAUSE_SECONDS
        while self.problem is None:
            with self._lock:  # no call may settle between the reservation and the look at the calls in flight
                try:
                    call = self._held(ask, tariff)
                    self._open.add(call)
                    return call
                except CapReached as cap:
                    if not self._open or time.monotonic() > end:
                        self.problem = cap
                        break
            self._pause(_LOOK_SECONDS)  # reservations are larger than actual costs
        assert self.problem is not None
        raise RequestRefused(402, f"metaloop: {self.problem.message}. Do not retry: the run ends here.")

    def _held(self, ask: ModelRequest, tariff: Tariff) -> MeteredCall:
        """A call whose worst case is reserved. A reply that may be longer than the rest of the cap pays for is limited,
        also where the agent set its length, but not below a chat researcher's. Raises CapReached."""
        if not self._limiter.capped:
            return self._within(ask, tariff, (ask.length or tariff.longest or 0) * ask.replies)
        length = ask.length or tariff.longest or UNKNOWN_REPLY
        least = min(length, self._context.config.reply_tokens + ask.thinking)
        if ask.length is None and tariff.longest is None:
            ask.bound(length)
        while True:
            try:
                return self._within(ask, tariff, length * ask.replies)
            except CapReached:
                if length <= least:
                    raise
                length = max(least, length // 2)
                ask.bound(length)

    def _within(self, ask: ModelRequest, tariff: Tariff, most_out: int) -> MeteredCall:
        most_in = self._sizes.most(ask.parts, ask.most_in)
        usd = tariff.price.most(most_in, most_out) if tariff.price else 0.0
        worst = Cost(most_in + most_out, usd)
        call = MeteredCall(self, ask, tariff, worst, f"{self._context.run_id}:{self._next}:0", self._next)
        self._limiter.reserve(call.account, worst, call.about)
        self._next += 1
        return call

    def _tariff(self, route: Route, model: str) -> Tariff:
        key = route.name, model
        if key not in self._tariffs:
            self._tariffs[key] = tariff(route, model, self._context)
        return self._tariffs[key]


class MeteredCall:
    """One call whose worst case is reserved. Only its first settlement counts."""

    def __init__(
        self, meter: CallMeter, ask: ModelRequest, tariff: Tariff, worst: Cost, account: str, number: int
    ) -> None:
        self.account = account
        self.content = ask.content()
        self.about = CallEvent(
            run_id=meter.run_id or None,
            number=number,
            purpose="agent",
            request=hashlib.sha256(self.content).hexdigest(),
            tokens=0,
            usd=0.0,
            wall_seconds=0.0,
            attempts=0,
            lost_usd=0.0 if tariff.price else None,
        )
        self._meter, self._ask, self._tariff, self._worst = meter, ask, tariff, worst
        self._began = time.monotonic()
        self._settled = False
        self._lock = threading.Lock()

    def answered(self, reading: ReplyReader) -> None:
        """The reply is complete; its reported usage is the cost."""
        usage = reading.usage
        if usage is None:
            self._end(self._worst, "ok", "the reply reports no usage", reading)
            return
        self._meter.learn(self._ask, usage)
        usd = self._tariff.usd(usage)
        status = {"length": "truncated", "content_filter": "refused"}.get(reading.finish, "ok")
        self._end(Cost(usage.tokens, usd or 0.0), status, "", reading, usage, usd)

    def free(self, reason: str) -> None:
        """The call failed before the API produced anything."""
        self._end(Cost(), "failed", reason)

    def lost(self, reason: str) -> None:
        """The call failed at an unknown cost."""
        self._end(self._worst, "failed", reason)

    def _end(
        self,
        cost: Cost,
        status: str,
        reason: str,
        reading: ReplyReader | None = None,
        usage: TokenUsage | None = None,
        usd: float | None = 0.0,
    ) -> None:
        with self._lock:
            if self._settled:
                return
            self._settled = True
        seconds = round(time.monotonic() - self._began, 4)
        fault = f"{self._ask.model}: {scrub(reason)}"[:200] if reason else ""
        lost = Cost() if usage else cost
        event = replace(
            self.about,
            tokens=usage.tokens if usage else 0,
            usd=usd,
            lost_tokens=lost.tokens,
            lost_usd=lost.usd if self._tariff.price or not lost.tokens else None,
            wall_seconds=seconds,
            attempts=1,
            faults=(fault,) if fault else (),
            model=(reading and reading.model) or self._ask.model,
            tokens_in=usage.tokens_in if usage else 0,
            tokens_out=usage.tokens_out if usage else 0,
            tokens_cached=usage.cached if usage else 0,
            reply_usd=usd if usage else None,
            reply_seconds=seconds if usage else 0.0,
            finish=reading.finish if reading else "",  # no text: the session's output contains it
            status=status,
            reason=scrub(reason)[:300],
        )
        self._meter.settle(self, cost, event)


def tariff(route: Route, model: str, context: RunContext) -> Tariff:
    """By the name with its provider, or the name alone, whichever is known; the user's price takes precedence."""
    names = (f"{route.name}/{model}", model)
    for name in names:
        if name in context.config.prices:
            return Tariff(name, prices.price_of(name, context.config), _longest(name))
    for name in names:
        price = prices.price_of(name, context.config)
        if price is not None:
            info = _info(name)
            dearest_in = _dearest(info, "input_cost_per_token", "cache_creation_input_token_cost")
            dearest_out = _dearest(info, "output_cost_per_token", "output_cost_per_reasoning_token")
            dear = max(price.tokens_in, price.written, dearest_in)
            most = prices.TokenPrice(dear, max(price.tokens_out, dearest_out), dear, dear)
            return Tariff(name, most, _longest(name))
    return Tariff(names[0], None, _longest(names[0]) or _longest(model))


def _dearest(info: dict[str, JsonValue], *kinds: str) -> float:
    """The highest rate of some kinds, including long prompts and long caches; other service tiers are excluded."""
    fit = (
        value
        for name, value in info.items()
        if name.startswith(kinds) and not name.endswith(("_priority", "_flex", "_batches"))
    )
    return max((float(value) for value in fit if isinstance(value, int | float)), default=0.0)


def _info(name: str) -> dict[str, JsonValue]:
    try:
        return dict(litellm().get_model_info(name))
    except Exception:  # the library may raise anything for an unknown model
        return {}


def _longest(name: str) -> int | None:
    info = _info(name)
    longest = info.get("max_output_tokens") or info.get("max_tokens")
    return int(longest) if isinstance(longest, int | float) and longest > 0 else None


def _theirs(usage: TokenUsage) -> Any:
    """Usage as a LiteLLM object."""
    litellm()
    from litellm.types.utils import CacheCreationTokenDetails, PromptTokensDetailsWrapper
    from litellm.types.utils import Usage as Theirs

    kept = CacheCreationTokenDetails(
        ephemeral_5m_input_tokens=usage.written - usage.written_hour, ephemeral_1h_input_tokens=usage.written_hour
    )
    details = PromptTokensDetailsWrapper(
        cached_tokens=usage.cached,
        cache_creation_tokens=usage.written,
        cache_creation_token_details=kept if usage.written else None,
    )
    return Theirs(
        prompt_tokens=usage.tokens_in,
        completion_tokens=usage.tokens_out,
        total_tokens=usage.tokens,
        prompt_tokens_details=details,
    )
