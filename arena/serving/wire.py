"""The socket of a server, and a timeout for the headers of a request: uvicorn itself waits for them without limit."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import uvicorn
from uvicorn import Config
from uvicorn.protocols.http.h11_impl import H11Protocol

from programs.common.errors import EnvironmentProblem

HEAD_SECONDS = 20.0  # from the opening of a connection, or the first byte of a request, to the end of its headers
MOST_HEAD = 32 << 10  # bytes of a request's line and headers
BACKLOG = 1024


def listen(host: str, port: int) -> socket.socket:
    """A bound socket. Raises EnvironmentProblem."""
    addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, kind, protocol, _, address = addresses[0]
    listening = socket.socket(family, kind, protocol)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind(address)
    except OSError as error:
        listening.close()
        raise EnvironmentProblem(f"{host}:{port}: {error.strerror}", hint="choose another --port") from None
    listening.listen(BACKLOG)
    return listening


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


def configured(app: Any, proxies: str | None = None) -> Config:
    """Server settings: always the same parser, no websockets, bounded headers. ``proxies``: the addresses whose
    forwarded headers are trusted, by default that of this machine alone."""
    return Config(
        app,
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

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for end in getattr(self.config.app.state, "endings", ()):  # type: ignore[union-attr]  # FastAPI
            end()
        await super().shutdown(sockets)
