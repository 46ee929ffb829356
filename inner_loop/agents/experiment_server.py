"""Receives an agent's requests through a Unix socket that is bound into its sandbox, one at a time.

Callers are untrusted. A request is one line of JSON, limited in size and time; a slow, flooding or vanished caller
delays only the agent.
"""

from __future__ import annotations

import json
import shutil
import socket
import time
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
    """Listens at ``path`` until `close`. After `wait` has returned a request, `reply` answers it."""

    def __init__(self) -> None:
        self.path, self._listening = private_socket()
        self._caller: socket.socket | None = None
        self._style = "text"

    def close(self) -> None:
        self._hang_up()
        self._listening.close()
        shutil.rmtree(self.path.parent, ignore_errors=True)

    def wait(self, seconds: float) -> AgentRequest | None:
        """The request of the next caller, who is waited for up to ``seconds``; None without one. An invalid one is
        answered here."""
        self._listening.settimeout(seconds)
        try:
            self._caller, _ = self._listening.accept()
        except OSError:
            return None  # nobody, or gone meanwhile
        body = _read_line(self._caller)
        try:
            request = AgentRequest.model_validate_json(body) if body else None
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"])) or "request"
            self._style = "text"
            self.reply(AgentReply(f"invalid request: {where}: {first['msg']}", 2))
            return None
        if request is None or _has_hung_up(self._caller):  # its experiment would be charged and the result lost
            self._hang_up()
            return None
        self._style = request.style
        return request

    def reply(self, reply: AgentReply) -> None:
        """Answer the last request. The agent need not read it: what was done stays done."""
        if self._caller is not None:
            with suppress(OSError):
                self._caller.settimeout(_ANSWER_SECONDS)
                self._caller.sendall(reply.encode(self._style))
        self._hang_up()

    def _hang_up(self) -> None:
        if self._caller is not None:
            self._caller.close()
        self._caller = None


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


def _has_hung_up(caller: socket.socket) -> bool:
    caller.setblocking(False)
    try:
        return caller.recv(1, socket.MSG_PEEK) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True
