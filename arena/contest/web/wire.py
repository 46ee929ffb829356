"""A timeout for the headers of a request: uvicorn itself waits for them without limit."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from socket import socket
from typing import Any

import uvicorn
from uvicorn import Config
from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_SECONDS = 20.0  # from the opening of a connection, or the first byte of a request, to the end of its headers
MOST_HEAD = 32 << 10  # bytes of a request's line and headers
MOST_SAID = 3  # anyone can send such a header


class HeaderTimeoutProtocol(H11Protocol):
    """HTTP/1.1 that closes a connection if the headers of its next request do not arrive in time."""

    late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget()
        super().connection_lost(exc)

    def _watch(self) -> None:
        answering = self.cycle is not None and not self.cycle.response_complete
        if answering:
            self._forget()
        elif self.late is None:
            self.late = self.loop.call_later(HEAD_SECONDS, self._give_up)

    def _forget(self) -> None:
        if self.late is not None:
            self.late.cancel()
            self.late = None

    def _give_up(self) -> None:
        self.late = None
        if not self.transport.is_closing():
            self.transport.close()


class UnnamedProxies:
    """An application that says, once for an address, where a client's address and https were not believed."""

    def __init__(self, app: Any, say: Callable[[str], None]) -> None:
        self.app, self.state, self.say = app, app.state, say
        self.said: set[str] = set()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and scope["scheme"] == "http" and len(self.said) < MOST_SAID:
            client = (scope["client"] or ("",))[0]
            https = any(name == b"x-forwarded-proto" and b"https" in value.lower() for name, value in scope["headers"])
            if https and client not in self.said:
                self.said.add(client)
                self.say(
                    f"a request over https came through {client}, which is not trusted as a proxy: forms are refused "
                    f"and links are http. If it is yours: --proxy {client}"
                )
        await self.app(scope, receive, send)


def configured(app: Any, proxies: str | None = None, say: Callable[[str], None] | None = None) -> Config:
    """Server settings: always the same parser, no websockets, bounded headers. ``proxies``: the addresses whose
    forwarded headers are trusted, by default that of this machine alone; ``say`` is told of others that send some."""
    return Config(
        UnnamedProxies(app, say) if say else app,
        forwarded_allow_ips=proxies,
        http=HeaderTimeoutProtocol,
        ws="none",
        log_level="warning",
        server_header=False,
        date_header=True,
        timeout_graceful_shutdown=2,
        timeout_keep_alive=15,
        h11_max_incomplete_event_size=MOST_HEAD,
    )


class Server(uvicorn.Server):
    """A server that ends the streams of its application (``state.endings``) before it waits for open responses."""

    async def shutdown(self, sockets: list[socket] | None = None) -> None:
        for end in getattr(self.config.app.state, "endings", ()):  # type: ignore[union-attr]  # FastAPI
            end()
        await super().shutdown(sockets)
