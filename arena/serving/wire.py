"""The socket of a server, and a timeout for the headers of a request: uvicorn itself waits for them without limit."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable, Iterable
from typing import Any

import uvicorn
from uvicorn import Config
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware
from uvicorn.protocols.http.h11_impl import H11Protocol

from programs.errors import EnvironmentProblem

HEAD_SECONDS = 20.0  # from the opening of a connection, or the first byte of a request, to the end of its headers
MOST_HEAD = 32 << 10  # bytes of a request's line and headers
LINE_SECONDS, AGAIN_SECONDS = 60.0, 3600.0  # from one line about a proxy to the next, of any address and of the same
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


class Proxies:
    """An application that believes ``trusted`` proxies what they state of a client: address and https. It says which
    other peers state such things: one of them may be a proxy that the host forgot to name."""

    def __init__(self, app: Any, trusted: list[str] | str, say: Callable[[str], None]) -> None:
        self.app, self.state, self.say = ProxyHeadersMiddleware(app, trusted), app.state, say
        self.said: dict[str, float] = {}  # address → when; those of the last hour, at most one a minute

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and scope["client"]:
            peer = scope["client"][0]  # before it is replaced by the address that the proxy states
            if peer not in self.app.trusted_hosts and forwards_https(scope["headers"]):
                self._tell(peer)
        await self.app(scope, receive, send)

    def _tell(self, peer: str) -> None:
        now = time.monotonic()
        self.said = {one: at for one, at in self.said.items() if now - at < AGAIN_SECONDS}
        if peer in self.said or now - max(self.said.values(), default=-LINE_SECONDS) < LINE_SECONDS:
            return
        self.said[peer] = now
        self.say(
            f"{peer} sent a request as a proxy with TLS does, but is not trusted as one: forms through it are refused "
            f"and links are http. Anyone can send such requests; only if {peer} is your own proxy: --proxy {peer}"
        )


def forwards_https(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Whether a request states that it came over https to the first proxy that it passed."""
    stated = [value.split(b",")[0].strip().lower() for name, value in headers if name == b"x-forwarded-proto"]
    return stated[:1] == [b"https"]


def configured(app: Any, proxies: str | None = None, say: Callable[[str], None] | None = None) -> Config:
    """Server settings: always the same parser, no websockets, bounded headers. ``proxies``: the addresses whose
    forwarded headers are trusted, by default that of this machine alone; ``say`` is told of others that send some."""
    config = Config(
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
    if say:  # in the place of uvicorn's own, which hides the peer
        config.app = Proxies(app, config.forwarded_allow_ips, say)
        config.proxy_headers = False
    return config


class Server(uvicorn.Server):
    """A server that ends the streams of its application (``state.endings``) before it waits for open responses."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for end in getattr(self.config.app.state, "endings", ()):  # type: ignore[union-attr]  # FastAPI
            end()
        await super().shutdown(sockets)
