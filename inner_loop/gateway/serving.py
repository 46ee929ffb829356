"""What servers for the untrusted processes of a sandbox share: a Unix socket that is bound into it, and limits."""

from __future__ import annotations

import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from programs.common.errors import EnvironmentProblem

GATEWAY_PORT = 8114  # in the sandbox's own network
CONNECTIONS = 64


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
