"""Receives an agent's requests through a Unix socket that is bound into its sandbox, one at a time.

Callers are untrusted. A request is one line of JSON, limited in size and time; a slow, flooding or vanished caller
delays only the agent. Answers are computed in the thread that calls `serve`, because experiments are launched from
there.
"""

from __future__ import annotations

import json
import shutil
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, Field, ValidationError

from inner_loop.gateway.serving import private_socket
from programs.common.closing import Closing

_REQUEST_BYTES = 256 << 10
_REQUEST_SECONDS = 2.0
_ANSWER_SECONDS = 5.0


class AgentRequest(BaseModel, frozen=True, extra="forbid", strict=True):
    """A request of an agent. Its texts are untrusted."""

    verb: str = Field(pattern=r"^(run|status|log|directives)$")
    style: str = Field(default="text", pattern=r"^(text|json|log)$")
    number: int | None = Field(default=None, ge=0, le=1_000_000)
    message: str = Field(default="", max_length=10_000)
    because: list[str] = Field(default=[], max_length=32)
    fraction: float = Field(default=1.0, gt=0.0, le=1.0, allow_inf_nan=False)
    again: bool = False


@dataclass(frozen=True)
class AgentReply:
    """``code`` becomes the exit code of the command that asked; ``facts`` are its ``--json``."""

    text: str
    code: int = 0
    facts: dict[str, Any] | None = None

    def encode(self, style: str) -> bytes:
        text = json.dumps(self.facts, ensure_ascii=False) if style == "json" and self.facts is not None else self.text
        return json.dumps({"text": text, "code": self.code}).encode()


class ExperimentServer(Closing):
    """Listens at ``path`` until `close`. ``answer`` receives each valid request."""

    def __init__(self, answer: Callable[[AgentRequest], AgentReply]) -> None:
        self._answer = answer
        self.path, self._listening = private_socket()

    def close(self) -> None:
        self._listening.close()
        shutil.rmtree(self.path.parent, ignore_errors=True)

    def serve(self, seconds: float) -> None:
        """Wait up to ``seconds`` for a caller and answer it. An exception from ``answer`` ends the run."""
        self._listening.settimeout(seconds)
        try:
            caller, _ = self._listening.accept()
        except OSError:
            return  # nobody, or gone meanwhile
        with caller:
            body = _read_line(caller)
            if body is None:
                return
            try:
                request = AgentRequest.model_validate_json(body)
            except ValidationError as error:
                first = error.errors()[0]
                where = ".".join(map(str, first["loc"])) or "request"
                _send(caller, AgentReply(f"invalid request: {where}: {first['msg']}", 2).encode("text"))
                return
            if not _hung_up(caller):  # its experiment would be charged and the result lost
                _send(caller, self._answer(request).encode(request.style))


def _read_line(caller: socket.socket) -> bytes | None:
    """One line within the limits; None if it does not come."""
    data, deadline = b"", time.monotonic() + _REQUEST_SECONDS
    with suppress(OSError):
        while (left := deadline - time.monotonic()) > 0 and len(data) <= _REQUEST_BYTES:
            caller.settimeout(left)
            piece = caller.recv(1 << 16)
            data += piece
            if data.endswith(b"\n"):
                return data
            if not piece:
                return None
    return None


def _hung_up(caller: socket.socket) -> bool:
    caller.setblocking(False)
    try:
        return caller.recv(1, socket.MSG_PEEK) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


def _send(caller: socket.socket, data: bytes) -> None:
    """The agent need not read it: what was done stays done."""
    with suppress(OSError):
        caller.settimeout(_ANSWER_SECONDS)
        caller.sendall(data)
