"""A cache of the pages that are the same for all readers.

Only requests without a session and without a token are cached: the page is rendered for a reader without cookies, so it
contains nothing personal, and headers that set a cookie are removed. All other requests go to the application. A cached
page is at most FRESH_SECONDS old; while a new one is rendered, the old one is served.
"""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import re
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from arena.contest.client import API, API_HEADER
from arena.contest.web.security import HOSTING, SESSION
from programs.text import word_list

PAGES = frozenset(
    word_list("""
    / /queue /rules /rules.md /llms.txt /static/style.css /static/live.js /static/icon.svg
    /api/v1/board /api/v1/queue /api/v1/contest
""")
)
PARAMETERS = frozenset({"page", "rest", "limit", "offset"})
FRESH_SECONDS = 1.0
STALE_SECONDS = 5.0  # maximum age of a page that is served while a new one is rendered
MOST_PAGES, MOST_QUERY = 200, 60
VARY = b"accept-encoding, authorization, cookie"
TIMES = re.compile(rb"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d+)?")  # a page that differs by its clock is the same page
OWN = frozenset({b"set-cookie", b"content-length", b"vary", b"etag"})

Key = tuple[Any, ...]


@dataclass
class Page:
    """A response as bytes. ``made``: when rendering began, on the monotonic clock."""

    made: float
    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes
    small: bytes  # gzipped
    etag: bytes


class Shared:
    """Middleware: answers from the cache where it can, else passes the request on."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self._pages: OrderedDict[Key, Page] = OrderedDict()
        self._making: dict[Key, asyncio.Task[Page]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "GET" or scope["path"] not in PAGES:
            await self.app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        key = key_of(scope, headers)
        page = None if key is None else await self._page(key, scope)
        if page is None or page.status != 200:
            await self.app(scope, receive, send)
            return
        await _answer(page, headers, send)

    async def _page(self, key: Key, scope: Scope) -> Page:
        """The page, rendered again if it is too old; concurrent requests wait for one rendering."""
        cached, now = self._pages.get(key), time.monotonic()
        if cached is not None and now - cached.made < FRESH_SECONDS:
            return cached
        task = self._making.get(key)
        if task is None:
            task = self._making[key] = asyncio.create_task(self._make(key, scope))
            task.add_done_callback(lambda done: done.cancelled() or done.exception())  # the waiting requests raise it
        if cached is not None and now - cached.made < STALE_SECONDS:
            return cached
        return await asyncio.shield(task)

    async def _make(self, key: Key, scope: Scope) -> Page:
        try:
            page = await made(self.app, scope)
        finally:
            self._making.pop(key, None)
        self._pages[key] = page
        self._pages.move_to_end(key)
        while len(self._pages) > MOST_PAGES:
            self._pages.popitem(last=False)
        return page


def key_of(scope: Scope, headers: Mapping[bytes, bytes]) -> Key | None:
    """What a cached page depends on; None if the response may be personal, the query has other parameters, or the
    client names another version of the API, which is refused."""
    if headers.get(API_HEADER.encode(), b"%d" % API) != b"%d" % API:
        return None
    cookies = headers.get(b"cookie", b"").decode("latin-1")
    if b"authorization" in headers or SESSION in cookies or HOSTING in cookies:
        return None
    query: bytes = scope["query_string"]
    if len(query) > MOST_QUERY or not {name for name, _ in parse_qsl(query.decode("latin-1"), True)} <= PARAMETERS:
        return None
    return scope["path"], query, scope["scheme"], headers.get(b"host", b"")


async def made(app: ASGIApp, scope: Scope) -> Page:
    """Render the page for an anonymous reader."""
    anonymous = {
        **scope,
        "headers": [(name, value) for name, value in scope["headers"] if name == b"host"],
        "state": {},
    }
    messages: list[Message] = []

    async def nothing() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def take(message: Message) -> None:
        messages.append(message)

    began = time.monotonic()
    await app(anonymous, nothing, take)
    head = next(message for message in messages if message["type"] == "http.response.start")
    body = b"".join(message.get("body", b"") for message in messages)
    etag = b'W/"%b"' % hashlib.sha256(TIMES.sub(b"", body)).hexdigest()[:20].encode()
    headers = [(name, value) for name, value in head["headers"] if name.lower() not in OWN]
    headers += [(b"vary", VARY), (b"etag", etag)]
    small = await asyncio.to_thread(gzip.compress, body, 5, mtime=0) if len(body) > 1000 else b""
    return Page(began, head["status"], headers, body, small, etag)


async def _answer(page: Page, request_headers: Mapping[bytes, bytes], send: Send) -> None:
    if page.etag in request_headers.get(b"if-none-match", b""):
        await send({"type": "http.response.start", "status": 304, "headers": page.headers})
        await send({"type": "http.response.body", "body": b""})
        return
    small = bool(page.small) and b"gzip" in request_headers.get(b"accept-encoding", b"")
    body = page.small if small else page.body
    headers = [*page.headers, (b"content-length", str(len(body)).encode())]
    if small:
        headers.append((b"content-encoding", b"gzip"))
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
