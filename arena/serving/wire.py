"""The socket and the settings of a server."""

from __future__ import annotations

import socket
from typing import Any

from uvicorn import Config, Server

from programs.common.errors import EnvironmentProblem

__all__ = ["Server", "configured", "listen"]

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


def configured(app: Any, proxies: str | None = None) -> Config:
    """Server settings: always the same parser, no websockets, bounded headers. ``proxies``: the addresses whose
    forwarded headers are trusted, by default that of this machine alone."""
    return Config(
        app,
        forwarded_allow_ips=proxies,
        http="h11",
        ws="none",
        log_level="warning",
        server_header=False,
        date_header=True,
        timeout_graceful_shutdown=2,
        timeout_keep_alive=15,
        h11_max_incomplete_event_size=MOST_HEAD,
    )
