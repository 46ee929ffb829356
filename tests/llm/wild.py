"""A server that answers every request with whatever bytes a test makes up, and lies that it may tell about usage."""

from __future__ import annotations

import json
import math
import socket
import socketserver
from collections.abc import Callable, Iterator
from typing import Any

from tests.llm.server import Served

Script = Callable[[], Iterator[bytes]]


class _Handler(socketserver.StreamRequestHandler):
    server: Any

    def handle(self) -> None:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            line = self.rfile.readline(65536)
            if not line:
                return
            head += line
        lengths = [int(line.split(b":")[1]) for line in head.splitlines() if line.lower().startswith(b"content-length")]
        self.rfile.read(lengths[0] if lengths else 0)
        wild: WildServer = self.server.llm
        wild.heard.append(head)
        for piece in wild.script():
            self.wfile.write(piece)
        self.request.shutdown(socket.SHUT_WR)


class WildServer(Served):
    """``script`` makes the bytes of an answer, piece by piece; the connection is closed behind them.

    ``heard`` holds the heads of the requests.
    """

    handler = _Handler

    def __init__(self, script: Script) -> None:
        super().__init__()
        self.script = script
        self.heard: list[bytes] = []


def whole(body: bytes, *, head: str = "", status: str = "200 OK", kind: str = "application/json") -> bytes:
    """One answer with its length."""
    return f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\n{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


SAID = {"role": "assistant", "content": "hello there"}


def completion(usage: Any = None, message: Any = SAID, *, model: str = "m", finish: str = "stop") -> bytes:
    """The body of a chat completion."""
    choice = {"index": 0, "message": message, "finish_reason": finish}
    about = {"id": "x", "object": "chat.completion", "created": 1, "model": model}
    return json.dumps({**about, "choices": [choice], "usage": usage}).encode()


def used(asked: Any, said: Any, cached: int = 0) -> dict[str, Any]:
    details = {"cached_tokens": cached}
    return {"prompt_tokens": asked, "completion_tokens": said, "total_tokens": 0, "prompt_tokens_details": details}


LIES: dict[str, Any] = {
    "negative": used(-100_000, -5), "one side": used(-100_000, 5), "sums to none": used(-7, 7), "text": used("a", "b"),
    "words": used("1", "1"), "absurd": used(10**30, 1), "parts": used(1.5, 2.5), "nan": used(math.nan, 1),
    "true": used(True, True), "zero": used(0, 0), "list": [1], "word": "many", "none": None,
    "cached": used(10, 5, 10**9), "cached less": used(10, 5, -(10**9)),
}  # fmt: skip
