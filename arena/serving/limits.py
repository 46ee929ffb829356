"""Limits on requests: size, rate, and bounds of numbers and names."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from ipaddress import IPv6Address, ip_address, ip_network
from threading import Lock
from typing import Annotated

from fastapi import HTTPException, Path, Query, Request, Response
from pydantic import Field, TypeAdapter
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from programs.common.text import MAX_BYTES

MOST_BODY = 2 * MAX_BYTES + (16 << 10)  # a program of short lines in a form, which sends a line end as two bytes
REMEMBERED = 20_000  # clients
BODY_SECONDS = 30.0  # for a body to arrive
# The rest of a refused body is read and dropped for so long, and so much of it, once it has been answered.
LINGER_SECONDS, LINGER_BYTES = 2.0, 2 << 20
TOO_LARGE = f"this is too large: a program may have at most {MAX_BYTES >> 10} KiB ({MAX_BYTES:,} bytes)"
HEAVY = 32 << 10  # bytes of a program that count as one more upload: long texts take long to check
MOST_NUMBER = (1 << 63) - 1  # the largest integer of SQLite
MOST_NAME = 100  # characters of an id or of a parameter

Limit = Annotated[int, Query(ge=1, le=1000)]
Offset = Annotated[int, Query(ge=0, le=1_000_000_000)]
PageNumber = Annotated[int, Query(ge=1, le=1_000_000)]
Chosen = Annotated[str, Query(max_length=MOST_NAME)]
EntryId = Annotated[str, Path(max_length=MOST_NAME)]
IN_A_FORM = TypeAdapter(Annotated[int, Field(ge=1, le=MOST_NUMBER)])  # numbers in forms


def client_of(request: Request, network: int = 64) -> str:
    """The key of a client for rate limits: its IPv4 address, also one in an IPv6 address (::ffff:192.0.2.1), or the
    network of so many bits of its IPv6 address."""
    name = request.client.host if request.client else "?"
    try:
        address = ip_address(name)
    except ValueError:
        return name
    if not isinstance(address, IPv6Address):
        return name
    return str(address.ipv4_mapped or ip_network((address, network), strict=False))


def customer_of(request: Request) -> str:
    """The same for who may join: all 65,536 networks of computers that one customer of a provider gets are one."""
    return client_of(request, 48)


class Rate:
    """Token bucket per client: ``most`` requests at once, refilled within ``seconds``."""

    def __init__(self, most: int, seconds: float) -> None:
        self.most, self.seconds = most, seconds
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._lock = Lock()  # requests are handled in threads

    def allows(self, client: str, weight: int = 1) -> bool:
        with self._lock:
            now = time.monotonic()
            left, then = self._buckets.pop(client, (float(self.most), now))
            left = min(float(self.most), left + (now - then) * self.most / self.seconds)
            weight = min(weight, self.most)
            allowed = left >= weight
            self._buckets[client] = (left - weight if allowed else left, now)
            while len(self._buckets) > REMEMBERED:
                self._buckets.popitem(last=False)
            return allowed

    @property
    def wait(self) -> int:
        """Seconds until the next request is allowed, for the header Retry-After."""
        return max(1, round(self.seconds / self.most))


def plain_answer(_request: Request, why: HTTPException) -> Response:
    return PlainTextResponse(f"{why.detail}\n", why.status_code)


class BodyLimit:
    """Refuses a request whose body is larger than ``most`` bytes, before it is read into memory. ``said`` makes the
    answer, a page for a browser, of the status and ``too_large``."""

    def __init__(
        self,
        app: ASGIApp,
        said: Callable[[Request, HTTPException], Response] = plain_answer,
        most: int = MOST_BODY,
        too_large: str = "",
    ) -> None:
        self.app, self.said, self.most = app, said, most
        self.too_large = HTTPException(413, too_large or f"the request is larger than {most:,} bytes")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        length = dict(scope["headers"]).get(b"content-length", b"0")
        if not length.isdigit() or len(length) > 12 or int(length) > self.most:
            await self._refuse(scope, receive, send, self.too_large)
            return
        try:
            async with asyncio.timeout(BODY_SECONDS):
                body = await _read(receive, self.most)
        except TimeoutError:
            late = f"the body did not arrive within {BODY_SECONDS:.0f} seconds"
            await self._refuse(scope, receive, send, HTTPException(408, late))
            return
        except ClientDisconnect:  # what has arrived of the body is not a request
            return
        if body is None:
            await self._refuse(scope, receive, send, self.too_large)
            return
        await self.app(scope, _again(body, receive), send)

    async def _refuse(self, scope: Scope, receive: Receive, send: Send, why: HTTPException) -> None:
        answer = await run_in_threadpool(self.said, Request(scope, receive), why)
        answer.headers["connection"] = "close"

        async def open_still(message: Message) -> None:
            await send({**message, "more_body": True} if message["type"] == "http.response.body" else message)

        await answer(scope, receive, open_still)
        with suppress(TimeoutError):  # a client that is cut off while it sends may not read the answer
            async with asyncio.timeout(LINGER_SECONDS):
                left = LINGER_BYTES
                while left > 0 and (message := await receive()).get("more_body"):
                    left -= len(message.get("body", b""))
        await send({"type": "http.response.body", "body": b""})


async def _read(receive: Receive, most: int) -> bytes | None:
    """The whole body; None where it is too large. Raises ClientDisconnect where the client goes before its end."""
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        body.extend(message.get("body", b""))
        if len(body) > most:
            return None
        if not message.get("more_body"):
            return bytes(body)


def _again(body: bytes, receive: Receive) -> Receive:
    """A `receive` that returns the body already read, then the client's further messages."""
    given = False

    async def give() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return give
