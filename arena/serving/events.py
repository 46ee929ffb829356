"""Server-sent events: notify every open page when the board or the queue has changed."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.responses import StreamingResponse

from arena.serving.clock import utc_now
from arena.serving.limits import client_of

LOOK_SECONDS = 1.0  # between two polls of the database, for all readers together
SILENCE_SECONDS = 15.0  # after which a comment keeps the connection open
MOST_READERS = 1000
MOST_EACH = 250  # of one client; a quarter of all

_LOG = logging.getLogger("uvicorn.error")
State = tuple[int, int]  # version of the board, number of the latest change of an entry


class Changes:
    """Polls the database once a second while there are readers, and notifies them."""

    def __init__(self, look: Callable[[], State]) -> None:
        self.look = look  # the current state
        self.readers = 0
        self.by_client: Counter[str] = Counter()
        self.state: State = (0, 0)
        self.ended = False  # the server shuts down
        self._news = asyncio.Event()  # set once, and replaced by the next
        self._task: asyncio.Task[None] | None = None

    async def _watch(self) -> None:
        failed = False
        while self.readers and not self.ended:
            try:
                state, failed = await asyncio.to_thread(self.look), False
            except Exception:  # a locked or missing database; it is asked again
                if not failed:
                    _LOG.exception("the state cannot be read; readers get it once it can")
                state, failed = self.state, True
            if state != self.state:
                self.state = state
                self._news, news = asyncio.Event(), self._news
                news.set()
            await asyncio.sleep(LOOK_SECONDS)
        self._task = None

    def end(self) -> None:
        """End all streams, and each later one after its first event."""
        self.ended = True
        self._news.set()

    def full(self, client: str) -> bool:
        """Whether the number of readers, or of this client's readers, is at its limit."""
        return self.readers >= MOST_READERS or self.by_client[client] >= MOST_EACH

    async def stream(self, client: str) -> AsyncIterator[str]:
        """Events as they go over the wire; the first one at once."""
        self.readers += 1
        self.by_client[client] += 1
        try:
            if self._task is None:
                self.state = await asyncio.to_thread(self.look)
                self._task = self._task or asyncio.create_task(self._watch())
            sent, news = self.state, self._news
            yield f"retry: 3000\nevent: now\ndata: {utc_now().isoformat()}\n\n{_event(sent)}"
            while not self.ended:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(SILENCE_SECONDS):
                        await news.wait()
                news = self._news
                yield _event(self.state) if self.state != sent else ": still here\n\n"
                sent = self.state
        finally:
            self.readers -= 1
            self.by_client.subtract([client])
            if not self.by_client[client]:
                del self.by_client[client]


def event_routes(routes: APIRouter, changes: Changes) -> None:
    """The stream that every open page reads."""

    @routes.get("/events")
    async def events(request: Request) -> Response:
        client = client_of(request)
        if changes.full(client):
            detail = {"message": "too many live readers", "hint": "reload the page from time to time"}
            raise HTTPException(503, detail=detail)
        headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
        return StreamingResponse(changes.stream(client), media_type="text/event-stream", headers=headers)


def _event(state: State) -> str:
    body = json.dumps({"board": state[0], "changed": state[1]})
    return f"event: change\nid: {state[0]}-{state[1]}\ndata: {body}\n\n"
