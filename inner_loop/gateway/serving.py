"""Servers for the untrusted processes of a sandbox, on a Unix socket that is bound into it."""

from __future__ import annotations

import shutil
import socket
import socketserver
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

from programs.common.closing import Closing
from programs.common.errors import EnvironmentProblem

GATEWAY_PORT = 8114  # in the sandbox's own network
CONNECTIONS = 64
_CLOSE_SECONDS = 1.0
_FULL = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class RequestRefused(Exception):
    """A request that is answered with an error of our own. ``status`` is HTTP's."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class ByteBudget:
    """Memory for the bodies of requests that are held at once."""

    def __init__(self, most: int) -> None:
        self._free, self._changed = most, threading.Condition()

    @contextmanager
    def hold(self, count: int, seconds: float) -> Iterator[None]:
        """So many bytes, once they are free. Raises RequestRefused if they are not within ``seconds``."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._free >= count, seconds):
                raise RequestRefused(503, "too many large requests at once")
            self._free -= count
        try:
            yield
        finally:
            with self._changed:
                self._free += count
                self._changed.notify_all()


def private_socket() -> tuple[Path, socket.socket]:
    """A listening Unix socket and its path, in a folder of its own with mode 700: any uid may use the socket, because
    the agent's is not ours, and the folder keeps others out."""
    path = Path(tempfile.mkdtemp(prefix="metaloop-")) / "socket"
    listening = socket.socket(socket.AF_UNIX)
    try:
        listening.bind(str(path))
    except OSError as error:
        listening.close()
        path.parent.rmdir()
        hint = "TMPDIR must be a short, writable path"  # a socket's path has 107 bytes at most
        raise EnvironmentProblem(f"{path}: {error.strerror or error}", hint=hint) from None
    path.chmod(0o666)
    listening.listen(CONNECTIONS)
    return path, listening


class LocalServer(Closing, socketserver.ThreadingTCPServer):
    """Serves a thread for each connection, up to a limit, from its creation to `close`; at ``path``, or, if that is
    None (``shared``), on a port of 127.0.0.1."""

    daemon_threads = True

    def __init__(self, handler: type[BaseHTTPRequestHandler], *, shared: bool = False) -> None:
        super().__init__(("127.0.0.1", 0), handler, bind_and_activate=shared)
        self.path: Path | None = None
        if not shared:
            self.socket.close()
            self.path, self.socket = private_socket()
        self._free = threading.BoundedSemaphore(CONNECTIONS)
        self.connections: set[socket.socket] = set()
        self._thread = threading.Thread(target=self.serve_forever, args=(0.1,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Accept no more connections, and cut those that are open."""
        self.shutdown()
        self._thread.join()
        for connection in list(self.connections):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        end = time.monotonic() + _CLOSE_SECONDS
        while self.connections and time.monotonic() < end:
            time.sleep(0.01)
        self.server_close()
        if self.path:
            shutil.rmtree(self.path.parent, ignore_errors=True)

    def process_request(self, request: Any, client_address: Any) -> None:
        if self._free.acquire(blocking=False):
            self.connections.add(request)
            super().process_request(request, client_address)
            return
        request.setblocking(False)
        with suppress(OSError):  # it did not wait for it
            request.send(_FULL)
        self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self.connections.discard(request)
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """An agent that hung up is not an error of ours, nor is a connection that `close` cut."""
        if not isinstance(sys.exc_info()[1], OSError) and self._thread.is_alive():
            super().handle_error(request, client_address)


class LocalHandler(BaseHTTPRequestHandler):
    """One request; the connection is closed after it, so that no second one can hide behind it."""

    protocol_version = default_request_version = "HTTP/1.1"
    server_version, sys_version = "metaloop", ""

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing on stderr."""

    def send_whole(self, status: int, data: bytes, headers: dict[str, str]) -> None:
        if self.send_head(status, headers | {"Content-Length": str(len(data))}):
            self.write(data)

    def send_head(self, status: int, headers: dict[str, str]) -> bool:
        """Whether the agent is still connected, as for `write`."""
        self.send_response(status)
        for name, value in (headers | {"Connection": "close"}).items():
            self.send_header(name, value)
        with suppress(OSError):
            self.end_headers()
            return True
        return False

    def write(self, data: bytes) -> bool:
        with suppress(OSError):
            self.wfile.write(data)
            return True
        return False
