"""What servers for the untrusted processes of a sandbox share: a Unix socket that is bound into it."""

from __future__ import annotations

import socket
import tempfile
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
