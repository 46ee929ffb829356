"""Meters an agent's model calls with the spend limiter and the prices of the chat researcher, and records them.

A call of unknown cost (its connection broke, it took too long, or its reply reports no usage) is charged its estimate.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from inner_loop.events import CallEvent
from inner_loop.gateway.fields import RequestRefused
from inner_loop.gateway.request import ModelRequest, ReplyReader
from inner_loop.gateway.route import Route
from inner_loop.models import prices
from inner_loop.models.provider import litellm
from inner_loop.models.scrub import scrub
from inner_loop.models.spend_limiter import LOOK_SECONDS, Cost, SpendLimiter
from inner_loop.run_context import RunContext
from programs.errors import EnvironmentProblem, MetaloopError, UsageError

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
        self._failed = 0
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._next = max((event.number for event in context.calls()), default=-1) + 1

    @contextmanager
    def call(self, request: ModelRequest, route: Route) -> Iterator[MeteredCall]:
        """One call. Raises RequestRefused if it may not be made."""
        names = sorted(
            (f"{route.name}/{request.model}", request.model), key=lambda n: n not in self._context.config.prices
        )
        found = (price for name in names if (price := prices.price_of(name, self._context.config)))
        call = self._start(request, route, next(found, None))
        try:
            yield call
        finally:
            call.lost("the call was aborted")  # unless it was settled

    def close(self, seconds: float) -> None:
        """Start no further calls, give those in flight ``seconds`` to end, and charge the rest their estimates."""
        self._closing.set()
        end = time.monotonic() + seconds
        while self._open and time.monotonic() < end:
            time.sleep(LOOK_SECONDS)
        for call in list(self._open):
            call.lost("the run ended during the call")

    @contextmanager
    def watched(self) -> Iterator[None]:
        """An error of our own in here ends the run; in the thread of a call it would go unnoticed."""
        try:
            yield
        except MetaloopError as error:
            self.problem = self.problem or error
        except OSError as error:  # the disk of purse.json
            message = f"{error.filename or 'the study'}: {error.strerror or error}"
            hint = "the same command continues once this is fixed"
            self.problem = self.problem or EnvironmentProblem(message, hint=hint)

    def settle(self, call: MeteredCall, event: CallEvent, cost: Cost) -> None:
        """Called once for each call."""
        with self.watched():
            self._limiter.settle(call.key, cost)
            with self._lock:
                bare = event.status == "failed" and not event.lost_tokens
                self._failed += bare
            if not bare or self._failed <= FAILED:
                self._context.emit(event)
        with self._lock:
            self._open.discard(call)

    def _start(self, request: ModelRequest, route: Route, price: prices.TokenPrice | None) -> MeteredCall:
        if self._context.config.max_usd is not None and price is None and self.problem is None:
            self.problem = UsageError(
                f"--max-usd: no price is known for {request.model}, which the agent asks for",
                hint=f"give dollars per million tokens, --set prices={route.name}/{request.model}=0.5/1.5; "
                "or cap by --max-tokens",
                ids=[self._context.run_id],
            )
        estimate = prices.estimated(price, request.tokens_in, request.length or _longest(price, request.model))
        with self.watched():
            self._pause(0.0)
            if self.problem is None:
                key = self._limiter.start(estimate, route.name, self._pause)
        if self.problem is not None:
            raise RequestRefused(402, f"metaloop: {self.problem.message}. Do not retry: the run ends here.")
        with self._lock:
            event = CallEvent(
                run_id=self._context.run_id or None, number=self._next, purpose="agent", attempts=1, wall_seconds=0.0,
                request=hashlib.sha256(request.content).hexdigest(), model=request.model, tokens=0, usd=0.0,
            )  # fmt: skip
            self._next += 1
            call = MeteredCall(self, key, event, price, estimate)
            self._open.add(call)
        return call

    def _pause(self, seconds: float) -> None:
        if self._closing.wait(seconds):
            raise RequestRefused(503, "the run is ending")


class MeteredCall:
    """One call in flight. Only its first settlement counts."""

    def __init__(
        self, meter: CallMeter, key: str, event: CallEvent, price: prices.TokenPrice | None, estimate: Cost
    ) -> None:
        self.key = key
        self._meter, self._event, self._price, self._estimate = meter, event, price, estimate
        self._began = time.monotonic()
        self._settled = False
        self._lock = threading.Lock()

    def answered(self, reading: ReplyReader) -> None:
        """The reply is complete; its reported usage is the cost."""
        status = {"length": "truncated", "content_filter": "refused"}.get(reading.finish, "ok")
        if reading.usage is None:
            self._end(self._estimate, status, "the reply reports no usage", reading)
        else:
            usd = self._price.cost(reading.usage) if self._price else 0.0
            self._end(Cost(reading.usage.tokens, usd), status, "", reading)

    def free(self, reason: str) -> None:
        """The call failed before the API produced anything."""
        self._end(Cost(), "failed", reason)

    def lost(self, reason: str) -> None:
        """The call failed at an unknown cost."""
        self._end(self._estimate, "failed", reason)

    def _end(self, cost: Cost, status: str, reason: str, reading: ReplyReader | None = None) -> None:
        with self._lock:
            if self._settled:
                return
            self._settled = True
        seconds, reason = round(time.monotonic() - self._began, 4), scrub(reason)
        usd = cost.usd if self._price or not cost.tokens else None
        event = replace(self._event, status=status, reason=reason[:300], wall_seconds=seconds)
        if reason:
            event = replace(event, faults=(f"{event.model}: {reason}"[:200],))
        if reading:  # without its text, which the session's output contains
            event = replace(event, model=reading.model or event.model, finish=reading.finish)
        if reading and (usage := reading.usage):
            event = replace(
                event, tokens=cost.tokens, usd=usd, tokens_in=usage.tokens_in, tokens_out=usage.tokens_out,
                tokens_cached=usage.cached, reply_usd=usd, reply_seconds=seconds,
            )  # fmt: skip
        else:
            event = replace(event, lost_tokens=cost.tokens, lost_usd=usd)
        self._meter.settle(self, event, cost)


def _longest(price: prices.TokenPrice | None, model: str) -> int:
    """The longest reply of a model according to LiteLLM's table."""
    try:
        return int(litellm().get_model_info(price.model if price else model)["max_output_tokens"])
    except Exception:  # the library may raise anything for an unknown model
        return UNKNOWN_REPLY
