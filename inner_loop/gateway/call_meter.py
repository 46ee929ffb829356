"""Meters an agent's model calls with the spend limiter and the prices of the chat researcher, and records them.

A call of unknown cost (its connection broke, it took too long, or its reply reports no usage) is charged its estimate.
"""

from __future__ import annotations

import hashlib
import itertools
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from inner_loop.events import CallEvent
from inner_loop.gateway.request import ModelRequest, ReplyReader
from inner_loop.gateway.route import Route
from inner_loop.gateway.serving import RequestRefused
from inner_loop.models import prices
from inner_loop.models.scrub import scrub
from inner_loop.models.spend_limiter import LOOK_SECONDS, Cost, SpendLimiter
from inner_loop.run_context import RunContext
from programs.common.errors import EnvironmentProblem, MetaloopError, UsageError

UNKNOWN_REPLY = 32_768  # longest reply in tokens of an unknown model, if the request sets no length
FAILED = 1000  # free failed calls of a run that are recorded one by one


class CallMeter:
    """Meters the calls of one run; threads share it. ``problem``: why the run cannot continue, once a cap is
    reached."""

    def __init__(self, context: RunContext) -> None:
        self.problem: MetaloopError | None = None
        self._context = context
        self._limiter = SpendLimiter.of(context)
        self._open: set[MeteredCall] = set()
        self._closing = threading.Event()
        self._failures = itertools.count()
        self._numbers = itertools.count(max((event.number for event in context.calls()), default=-1) + 1)

    @contextmanager
    def call(self, request: ModelRequest, route: Route) -> Iterator[MeteredCall]:
        """One call. Raises RequestRefused if it may not be made."""
        call = self._started(request, route)
        self._open.add(call)
        try:
            yield call
        finally:
            call.failed("the call was aborted")  # unless it was settled

    def close(self, seconds: float) -> None:
        """Start no further calls, give those in flight ``seconds`` to end, and charge the rest their estimates."""
        self._closing.set()
        end = time.monotonic() + seconds
        while self._open and time.monotonic() < end:
            time.sleep(LOOK_SECONDS)
        for call in list(self._open):
            call.failed("the run ended during the call")

    def settle(self, call: MeteredCall, event: CallEvent, cost: Cost) -> None:
        """Called once for each call."""
        with self._watched():
            self._limiter.settle(call.key, cost)
            if event.status != "failed" or event.lost_tokens or next(self._failures) < FAILED:
                self._context.emit(event)
        self._open.discard(call)

    @contextmanager
    def _watched(self) -> Iterator[None]:
        """An error of our own in here ends the run; in the thread of a call it would go unnoticed."""
        try:
            yield
        except MetaloopError as error:
            self.problem = self.problem or error
        except OSError as error:  # the disk of purse.json
            message = f"{error.filename or 'the study'}: {error.strerror or error}"
            hint = "the same command continues once this is fixed"
            self.problem = self.problem or EnvironmentProblem(message, hint=hint)

    def _started(self, request: ModelRequest, route: Route) -> MeteredCall:
        config, named = self._context.config, f"{route.name}/{request.model}"
        names = sorted((named, request.model), key=lambda name: name not in config.prices)
        price = next((price for name in names if (price := prices.price_of(name, config))), None)
        length = request.length or prices.longest(price.model if price else request.model, "output") or UNKNOWN_REPLY
        estimate = prices.estimated(price, request.tokens_in, length, cached_hour=request.caches_for_an_hour)
        with self._watched():
            self._pause(0.0)
            if config.max_usd is not None and price is None:
                raise UsageError(
                    f"--max-usd: no price is known for {request.model}, which the agent asks for",
                    hint=f"give dollars per million tokens, --set prices={named}=0.5/1.5; or cap by --set max_tokens=N",
                    ids=[self._context.run_id],
                )
            if self.problem is None:
                key = self._limiter.start(estimate, route.name, self._pause)
        if self.problem is not None:
            raise RequestRefused(402, f"metaloop: {self.problem.message}. Do not retry: the run ends here.")
        event = CallEvent(
            run_id=self._context.run_id or None, number=next(self._numbers), purpose="agent", attempts=1,
            request=hashlib.sha256(request.content).hexdigest(), model=request.model, tokens=0, usd=0.0,
            wall_seconds=0.0,
        )  # fmt: skip
        return MeteredCall(self, key, event, price, estimate, ReplyReader(request.kind))

    def _pause(self, seconds: float) -> None:
        if self._closing.wait(seconds):
            raise RequestRefused(503, "the run is ending")


@dataclass(frozen=True, eq=False)
class MeteredCall:
    """One call in flight. Only its first settlement counts."""

    meter: CallMeter
    key: str
    event: CallEvent
    price: prices.TokenPrice | None
    estimate: Cost
    reading: ReplyReader
    began: float = field(default_factory=time.monotonic)
    settled: threading.Lock = field(default_factory=threading.Lock)

    def answered(self) -> None:
        """The reply is read completely; its reported usage is the cost. Its text is in the session's output."""
        reading = self.reading
        status = {"length": "truncated", "content_filter": "refused"}.get(reading.finish, "ok")
        event = replace(self.event, status=status, model=reading.model or self.event.model, finish=reading.finish)
        if (usage := reading.usage) is None:
            self._settle(event, self.estimate, "the reply reports no usage")
            return
        usd = self.price.cost(usage) if self.price else None
        event = replace(
            event, tokens=usage.tokens, usd=usd, tokens_in=usage.tokens_in, tokens_out=usage.tokens_out,
            tokens_cached=usage.cached, reply_usd=usd, reply_seconds=self._seconds,
        )  # fmt: skip
        self._settle(event, Cost(usage.tokens, usd or 0.0))

    def failed(self, reason: str, *, free: bool = False) -> None:
        """The call failed, before the API produced anything or else at an unknown cost."""
        self._settle(self.event, Cost() if free else self.estimate, reason)

    @property
    def _seconds(self) -> float:
        return round(time.monotonic() - self.began, 4)

    def _settle(self, event: CallEvent, cost: Cost, reason: str = "") -> None:
        if not self.settled.acquire(blocking=False):
            return
        if reason:
            reason = scrub(reason)
            event = replace(event, reason=reason[:300], faults=(f"{event.model}: {reason}"[:200],))
        if not event.tokens:
            usd = cost.usd if self.price or not cost.tokens else None
            event = replace(event, lost_tokens=cost.tokens, lost_usd=usd)
        self.meter.settle(self, replace(event, wall_seconds=self._seconds), cost)
