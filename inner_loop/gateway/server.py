"""The gateway of model APIs: the only way from an agent's sandbox to its model; the user's key stays on this side.

A small HTTP server on a Unix socket that is bound into the sandbox, where `agents/relay` gives it an address. It
forwards requests to the APIs of its routes and nowhere else: no other path, no redirect, no header of the agent that
could name another account. Each call is metered (`gateway/call_meter`). Callers need the token of the run.
"""

from __future__ import annotations

import secrets
import shutil
import socket
import socketserver
import sys
import tempfile
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx

from inner_loop.gateway.answer import Handler
from inner_loop.gateway.call_meter import CallMeter
from inner_loop.gateway.route import Route, Upstream, bases, given
from inner_loop.models.scrub import forms
from inner_loop.run_context import RunContext
from programs.closing import Closing
from programs.errors import EnvironmentProblem

PORT = 8114  # in the sandbox's own network
_CONNECTIONS = 64
_CONNECT_SECONDS = 15.0
_DRAIN_SECONDS = 3.0
_SECRET_CHARACTERS = 8  # a local server accepts any key, and a short one may occur in any reply
_FULL = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class Gateway(Closing):
    """Open from its creation to `close`. ``shared``: the sandbox has the machine's network, so the gateway listens
    on a port of 127.0.0.1, which other processes can reach but not use without the token."""

    def __init__(
        self, upstreams: Mapping[str, Upstream], routes: tuple[Route, ...], context: RunContext, *, shared: bool
    ) -> None:
        self.routes = routes
        self.closing = False
        self.token = f"metaloop-{secrets.token_hex(20)}"
        self.meter = CallMeter(context)
        self.client = _client(context)
        self._upstreams = upstreams
        self._folder = Path(tempfile.mkdtemp(prefix="metaloop-gateway-"))  # mode 700
        path = self._folder / "socket"
        self.socket = None if shared else path
        try:
            self._server = _Server(self, ("127.0.0.1", 0) if shared else str(path))
        except OSError as error:
            shutil.rmtree(self._folder, ignore_errors=True)
            hint = "TMPDIR must be a short, writable path"  # a socket's path has 107 bytes at most
            raise EnvironmentProblem(f"{path}: {error.strerror or error}", hint=hint) from None
        if not shared:
            path.chmod(0o666)  # the folder keeps others out; the agent's uid is not ours
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.1,), name="agent-gateway", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Accept no more requests, wait a moment for calls in flight, and settle the rest."""
        self._server.shutdown()
        self._thread.join()
        self.closing = True  # errors of aborted connections are ignored from now on
        self.meter.close(_DRAIN_SECONDS)
        self._server.server_close()
        self.client.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def address(self) -> str:
        """As the agent reaches it."""
        port = PORT if self.socket else self._server.socket.getsockname()[1]
        return f"http://127.0.0.1:{port}"

    def variables(self) -> dict[str, str]:
        return given(self._upstreams, self.routes, self.address, self.token)

    def bases(self) -> dict[str, str]:
        """Name of an API → its base URL inside."""
        return bases(self._upstreams, self.address)

    def clean(self, data: bytes) -> bytes:
        """A response without our keys: some APIs echo what they receive."""
        for route in self.routes:
            if len(route.secret) >= _SECRET_CHARACTERS:
                for form in forms(route.secret):
                    data = data.replace(form.encode("utf-8", "surrogateescape"), b"[secret]")
        return data


class _Server(socketserver.ThreadingTCPServer):
    """A thread for each connection, up to a limit. ``where``: the path of a socket, or host and port."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, gateway: Gateway, where: Any) -> None:
        self.gateway = gateway
        self.address_family = socket.AF_UNIX if isinstance(where, str) else socket.AF_INET
        self._free = threading.BoundedSemaphore(_CONNECTIONS)
        super().__init__(where, Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._free.acquire(blocking=False):
            request.setblocking(False)
            with suppress(OSError):  # it did not wait for it
                request.send(_FULL)
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """An agent that hung up is not an error of ours; everything else is shown."""
        if not isinstance(sys.exc_info()[1], OSError) and not self.gateway.closing:
            super().handle_error(request, client_address)


def _client(context: RunContext) -> httpx.Client:
    """Redirects are not followed; proxies and certificates of our own environment apply."""
    timeout = httpx.Timeout(context.config.call_timeout, connect=_CONNECT_SECONDS)
    return httpx.Client(follow_redirects=False, timeout=timeout, limits=httpx.Limits(max_connections=None))
