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
from typing import Any

from inner_loop.events import CallEvent
from inner_loop.gateway.request import ModelRequest
from inner_loop.gateway.route import Route
from inner_loop.gateway.serving import RequestRefused
from inner_loop.models import prices
from inner_loop.models.provider import as_dict, reported
from inner_loop.models.scrub import scrub
from inner_loop.models.spend_limiter import LOOK_SECONDS, Cost, SpendLimiter
from inner_loop.run_context import RunContext
from programs.common.bounded import json_value
from programs.common.errors import EnvironmentProblem, MetaloopError
from programs.common.text import one_line

UNKNOWN_REPLY = 32_768  # longest reply in tokens of an unknown model, if the request sets no length
FAILED = 1000  # free failed calls of a run that are recorded one by one
#: Why a reply ended, in OpenAI's words.
_FINISH = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "completed": "stop",
    "max_tokens": "length",
    "max_output_tokens": "length",
    "refusal": "content_filter",
}
_LAST_EVENTS = ("response.completed", "response.incomplete", "message_stop")


class CallMeter:
    """Meters the calls of one run; threads share it. ``problem``: why the run cannot continue, once a cap is
    reached."""

    def __init__(self, context: RunContext) -> None:
        self.problem: MetaloopError | None = None
        self._context = context
        self._limiter = SpendLimiter.of(context)
        self._open: set[MeteredCall] = set()
        self._settling = threading.Lock()
        self._closing = threading.Event()
        self._failures = itertools.count()
        self._numbers = itertools.count(max((event.number for event in context.calls()), default=-1) + 1)

    @contextmanager
    def call(self, request: ModelRequest, route: Route) -> Iterator[MeteredCall]:
        """One call. Raises RequestRefused if it may not be made."""
        config, full_name = self._context.config, f"{route.name}/{request.model}"
        names = sorted((full_name, request.model), key=lambda name: name not in config.prices)
        price = next((price for name in names if (price := prices.price_of(name, config))), None)
        length = request.length or prices.longest(price.model if price else request.model, "output") or UNKNOWN_REPLY
        estimate = prices.estimated(price, request.tokens_in, length, cached_hour=request.caches_for_an_hour)
        with self._ending_the_run():
            self._pause(0.0)
            if config.max_usd is not None and price is None:
                raise prices.unpriced(f"{request.model}, which the agent asks for", full_name)
            if self.problem is None:
                key = self._limiter.start(estimate, route.name, self._pause)
        if self.problem is not None:
            raise RequestRefused(402, f"metaloop: {self.problem.message}. Do not retry: the run ends here.")
        event = CallEvent(
            run_id=self._context.run_id or None, number=next(self._numbers), purpose="agent", attempts=1,
            request=hashlib.sha256(request.content).hexdigest(), model=request.model, tokens=0, usd=0.0,
            wall_seconds=0.0,
        )  # fmt: skip
        call = MeteredCall(self, key, event, price, estimate)
        self._open.add(call)
        try:
            yield call
        finally:
            call.fail("the call was aborted")  # unless it was settled

    def close(self, seconds: float) -> None:
        """Start no further calls, give those in flight ``seconds`` to end, and charge the rest their estimates."""
        self._closing.set()
        end = time.monotonic() + seconds
        while self._open and time.monotonic() < end:
            time.sleep(LOOK_SECONDS)
        for call in list(self._open):
            call.fail("the run ended during the call")

    def settle(self, call: MeteredCall, event: CallEvent, cost: Cost, reason: str = "") -> None:
        """Charge and record a call as its event says. Only its first settlement counts. ``reason``: why its cost is
        not the reported one."""
        with self._settling:
            if call not in self._open:
                return
            if reason:
                reason = scrub(reason)
                event = replace(event, reason=reason[:300], faults=(f"{event.model}: {reason}"[:200],))
            if not event.tokens:
                usd = cost.usd if call.price or not cost.tokens else None
                event = replace(event, lost_tokens=cost.tokens, lost_usd=usd)
            event = replace(event, wall_seconds=call.seconds)
            with self._ending_the_run():
                self._limiter.settle(call.key, cost)
                if event.status != "failed" or event.lost_tokens or next(self._failures) < FAILED:
                    self._context.emit(event)
            self._open.remove(call)

    @contextmanager
    def _ending_the_run(self) -> Iterator[None]:
        """An error of our own in here ends the run; in the thread of a call it would go unnoticed."""
        try:
            yield
        except MetaloopError as error:
            self.problem = self.problem or error
        except OSError as error:  # the disk of purse.json
            message = f"{error.filename or 'the study'}: {error.strerror or error}"
            hint = "the same command continues once this is fixed"
            self.problem = self.problem or EnvironmentProblem(message, hint=hint)

    def _pause(self, seconds: float) -> None:
        if self._closing.wait(seconds):
            raise RequestRefused(503, "the run is ending")


class ReplyReader:
    """Reads a whole reply, or event by event; ``counts`` is its usage so far.

    OpenAI chat completions report it in the last chunk (``stream_options``), OpenAI responses in the last event,
    Anthropic messages in the first one and, as new totals, in each ``message_delta``. ``finish`` is one of OpenAI's
    words (stop, length, content_filter) or another that the API uses; ``model`` the API's name of it. ``has_ended``:
    the reply is complete; some servers close a broken stream like a complete one.
    """

    def __init__(self) -> None:
        self.finish = self.model = ""
        self.has_ended = False
        self.counts: dict[str, Any] = {}

    def read_whole(self, data: bytes) -> None:
        body = _json_object(data)
        self.has_ended = bool(body)
        self._read(body)

    def read_event(self, data: bytes) -> bool:
        """One server-sent event; True if it has only usage, as OpenAI's last chunk does."""
        text = b"\n".join(line[5:].strip() for line in data.splitlines() if line.startswith(b"data:"))
        body = _json_object(text)
        has_only_usage = bool(body.get("usage")) and not body.get("choices") and "type" not in body
        self.has_ended |= text == b"[DONE]" or has_only_usage or body.get("type") in _LAST_EVENTS
        for part in (body, *(as_dict(body.get(name)) for name in ("response", "message", "delta"))):
            self._read(part)
        return has_only_usage

    def _read(self, part: dict[str, Any]) -> None:
        self.counts |= {name: count for name, count in as_dict(part.get("usage")).items() if count is not None}
        self.model = self.model or _clean_word(part.get("model"), 200)
        choices = part.get("choices")
        choice = as_dict(choices[0]) if isinstance(choices, list) and choices else part
        finish = choice.get("finish_reason") or choice.get("stop_reason") or choice.get("status") or ""
        if finish == "incomplete":
            finish = as_dict(choice.get("incomplete_details")).get("reason") or finish
        self.finish = _FINISH.get(str(finish), _clean_word(finish, 40)) or self.finish


@dataclass(eq=False)
class MeteredCall:
    """One call in flight, with what was read of its reply."""

    meter: CallMeter
    key: str
    event: CallEvent
    price: prices.TokenPrice | None
    estimate: Cost
    reply: ReplyReader = field(default_factory=ReplyReader)
    began: float = field(default_factory=time.monotonic)

    def answer(self) -> None:
        """The reply is read completely; its reported usage is the cost. Its text is in the session's output."""
        reply = self.reply
        status = {"length": "truncated", "content_filter": "refused"}.get(reply.finish, "ok")
        event = replace(self.event, status=status, model=reply.model or self.event.model, finish=reply.finish)
        usage = reported(reply.counts)
        if usage is None:
            self.meter.settle(self, event, self.estimate, "the reply reports no usage")
            return
        usd = self.price.cost(usage) if self.price else None
        event = replace(
            event, tokens=usage.tokens, usd=usd, tokens_in=usage.tokens_in, tokens_out=usage.tokens_out,
            tokens_cached=usage.cached, reply_usd=usd, reply_seconds=self.seconds,
        )  # fmt: skip
        self.meter.settle(self, event, Cost(usage.tokens, usd or 0.0))

    def fail(self, reason: str, *, free: bool = False) -> None:
        """The call failed, before the API produced anything or else at an unknown cost."""
        self.meter.settle(self, self.event, Cost() if free else self.estimate, reason)

    @property
    def seconds(self) -> float:
        """Since the call began."""
        return round(time.monotonic() - self.began, 4)


def _clean_word(value: object, most: int) -> str:
    """A word from a server, safe for terminals and files."""
    return one_line(str(value or "")[:most])


def _json_object(data: bytes) -> dict[str, Any]:
    try:
        return as_dict(json_value(data, finite=False))
    except ValueError:
        return {}
