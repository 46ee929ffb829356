"""Limits on requests: size, rate, and bounds of numbers and names."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from ipaddress import IPv6Address, ip_address, ip_network
from threading import Lock
from typing import Annotated

from fastapi import HTTPException, Path, Query, Request
from pydantic import Field, TypeAdapter
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from programs.common.text import MAX_BYTES

MOST_BODY = 2 * MAX_BYTES + (16 << 10)  # a program of short lines in a form, which sends a line end as two bytes
REMEMBERED = 20_000  # clients
BODY_SECONDS = 30.0  # for a body to arrive
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


class BodyLimit:
    """Refuses to read more than ``most`` bytes of a request, or for longer than BODY_SECONDS. The refusal is an
    exception of the handler that reads, so it is answered as any other error; the server drops the rest of the body."""

    def __init__(self, app: ASGIApp, most: int = MOST_BODY, too_large: str = "") -> None:
        self.app, self.most = app, most
        self.too_large = HTTPException(413, too_large or f"the request is larger than {most:,} bytes")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        declared, read, is_whole = int(Headers(scope=scope).get("content-length", "0")), 0, False
        deadline = asyncio.get_running_loop().time() + BODY_SECONDS

        async def limited() -> Message:
            nonlocal read, is_whole
            if is_whole:  # what follows is that the client leaves
                return await receive()
            if declared > self.most:
                raise self.too_large
            try:
                async with asyncio.timeout_at(deadline):
                    message = await receive()
            except TimeoutError:
                raise HTTPException(408, f"the body did not arrive within {BODY_SECONDS:.0f} seconds") from None
            read, is_whole = read + len(message.get("body", b"")), not message.get("more_body")
            if read > self.most:
                raise self.too_large
            return message

        await self.app(scope, limited, send)
