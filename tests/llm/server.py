"""A real HTTP server that speaks the OpenAI protocol, chats (streaming too), and fails on demand.

``python -m tests.llm.server [DELAY]`` serves until it is interrupted, and says at which OPENAI_API_BASE. A reply takes
DELAY seconds.
"""

from __future__ import annotations

import hashlib
import json
import socket
import socketserver
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from tests.llm import researcher


class ToolCall(str):
    """A reply that calls a tool: its text is the arguments as JSON."""

    name: str

    @classmethod
    def of(cls, name: str, arguments: dict[str, Any]) -> Self:
        call = cls(json.dumps(arguments))
        call.name = name
        return call


#: 429 names when to come again; `drop` ends the connection in mid-reply, `hang` answers nothing until the end.
FAULTS = ("429", "500", "503", "drop", "hang", "empty", "truncated", "malformed", "refusal")
ERRORS = {
    "429": "rate limit", "500": "internal", "503": "overloaded", "401": "Incorrect API key provided",
    "400": "this request cannot be understood", "404": "this server has no such model",
}  # fmt: skip
REFUSAL = "I'm sorry, but I can't help with that."
Body = dict[str, Any]
Answer = Callable[[Body], str]
Faulty = Callable[[int, Body], str | None]


def never(_number: int, _body: Body) -> None:
    return None


def every(kinds: tuple[str, ...], period: int) -> Faulty:
    """Each ``period``-th request meets a fault, the kinds by turns."""
    return lambda number, _: kinds[number // period % len(kinds)] if number % period == period - 1 else None


def tokens_of(text: str) -> int:
    return len(text) // 4 + 1


class Served:
    """An HTTP server on a thread of its own, for as long as a test is within it; ``handler`` answers."""

    handler: type[socketserver.StreamRequestHandler]

    def __init__(self) -> None:
        self.closing = threading.Event()
        self._http = _Http(("127.0.0.1", 0), self.handler)
        self._http.llm = self
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True)

    @property
    def root(self) -> str:
        return f"http://127.0.0.1:{self._http.server_address[1]}"

    @property
    def url(self) -> str:
        return f"{self.root}/v1"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64
    llm: Any

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that gave up is none of our business; everything else is shown."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    """Answers for its `Served`, in whole JSON documents."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Http

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing on stderr."""

    def body(self) -> Body:
        asked: Body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", "0"))))
        return asked

    def _json(self, status: int, body: Any) -> None:
        self._send(status, json.dumps(body).encode(), "json")

    def _send(self, status: int, data: bytes, kind: str, *, cut: bool = False) -> None:
        self.send_response(status)
        self.send_header("Content-Type", f"application/{kind}")
        self.send_header("Content-Length", str(len(data)))
        if status == 429:
            self.send_header("Retry-After", self.server.llm.retry_after)
        self.end_headers()
        self.wfile.write(data[: len(data) // 2] if cut else data)
        if cut:
            self.close_connection = True

    def begin_events(self) -> None:
        """The head of a stream."""
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True


class _ChatHandler(Handler):
    def do_GET(self) -> None:
        self._json(200, {"object": "list", "data": [{"id": "test", "object": "model"}]})

    def do_POST(self) -> None:
        llm, body = self.server.llm, self.body()
        if not self.path.endswith("/chat/completions"):
            self._error(404, "no such path")
            return
        kind = llm.take(body, self.headers.get("Authorization", "").removeprefix("Bearer "))
        with llm.lock:
            llm.at_once += 1
            llm.most_at_once = max(llm.most_at_once, llm.at_once)
        try:
            if llm.delay:
                time.sleep(llm.delay)
            self._reply(llm, body, kind)
        finally:
            with llm.lock:
                llm.at_once -= 1

    def _reply(self, llm: LlmServer, body: Body, kind: str | None) -> None:
        if kind in ERRORS:
            self._error(int(kind), ERRORS[kind])
        elif kind == "hang":
            llm.closing.wait(60)
            self.close_connection = True
        elif kind == "malformed":
            self._send(200, b'{"id": "chatcmpl-1", "object": "chat.completion", "choices": [{"index": 0, "mess', "json")
        else:
            text, finish = {"empty": "", "refusal": REFUSAL}.get(kind or ""), "stop"
            text = llm.answer(body) if text is None else text
            if kind == "truncated":
                text, finish = text[: len(text) // 2], "length"
            if kind == "filter":
                text, finish = "", "content_filter"
            usage = self._usage(body, text)
            llm.bill(usage)
            reply = self._stream if body.get("stream") else self._whole
            reply(body, text, finish, usage, cut=kind == "drop")

    def _usage(self, body: Body, text: str) -> dict[str, Any]:
        asked = sum(tokens_of(_text(message)) + 4 for message in body["messages"])
        said = min(tokens_of(text), int(body.get("max_tokens") or body.get("max_completion_tokens") or 1 << 30))
        return {
            "prompt_tokens": asked, "completion_tokens": said, "total_tokens": asked + said,
            "prompt_tokens_details": {"cached_tokens": tokens_of(_text(body["messages"][0])) // 128 * 128},
        }  # fmt: skip

    def _whole(self, body: Body, text: str, finish: str, usage: dict[str, Any], *, cut: bool) -> None:
        choice = {"index": 0, "message": {"role": "assistant", **_said(text)}, "finish_reason": _finish(text, finish)}
        whole = _head(body, "chat.completion") | {"choices": [choice], "usage": usage}
        self._send(200, json.dumps(whole).encode(), "json", cut=cut)

    def _stream(self, body: Body, text: str, finish: str, usage: dict[str, Any], *, cut: bool) -> None:
        self.begin_events()
        chunks = list(_chunks(body, text, finish, usage))
        for chunk in chunks[: len(chunks) // 2] if cut else chunks:
            self.wfile.write(f"data: {json.dumps(chunk)}\n\n".encode())
        if not cut:
            self.wfile.write(b"data: [DONE]\n\n")

    def _error(self, status: int, message: str) -> None:
        self._json(status, {"error": {"message": message, "type": "error", "code": str(status)}})


class LlmServer(Served):
    """``answer`` makes a reply's text of a request, ``fault`` says what goes wrong with request ``number`` (from 0).

    ``seen`` holds the requests that were understood, ``billed`` the tokens (in, out) that a provider would ask money
    for: of every reply that was made, whether or not it arrived.
    """

    handler: type[socketserver.StreamRequestHandler] = _ChatHandler

    def __init__(
        self,
        answer: Answer = researcher.answer,
        *,
        fault: Faulty = never,
        delay: float = 0.0,
        retry_after: str = "0.01",
    ) -> None:
        super().__init__()
        self.answer, self.fault, self.delay, self.retry_after = answer, fault, delay, retry_after
        self.seen: list[Body] = []
        self.keys: list[str] = []
        self.met: list[str] = []
        self.billed = [0, 0]
        self.at_once = self.most_at_once = 0
        self.lock = threading.Lock()

    def take(self, body: Body, key: str) -> str | None:
        """Note a request; the fault that it meets."""
        with self.lock:
            number = len(self.seen)
            self.seen.append(body)
            self.keys.append(key)
            kind = self.fault(number, body)
            if kind:
                self.met.append(kind)
            return kind

    def bill(self, usage: dict[str, Any]) -> None:
        with self.lock:
            self.billed[0] += usage["prompt_tokens"]
            self.billed[1] += usage["completion_tokens"]


class dead_server:
    """An address at which nobody listens: the port is held, and every connection is refused."""

    def __enter__(self) -> str:
        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{self._socket.getsockname()[1]}/v1"

    def __exit__(self, *_: object) -> None:
        self._socket.close()


def _head(body: Body, kind: str) -> dict[str, Any]:
    return {"id": "chatcmpl-test", "object": kind, "created": 1, "model": body.get("model", "test")}


def _said(text: str) -> Body:
    """What a message says: its text, or the tool that it calls."""
    if not isinstance(text, ToolCall):
        return {"content": text}
    call = {"index": 0, "id": call_id(text), "type": "function"}
    return {"content": None, "tool_calls": [call | {"function": {"name": text.name, "arguments": str(text)}}]}


def call_id(call: str) -> str:
    return f"call_{hashlib.sha256(call.encode()).hexdigest()[:16]}"


def _finish(text: str, finish: str) -> str:
    return "tool_calls" if isinstance(text, ToolCall) else finish


def _chunks(body: Body, text: str, finish: str, usage: dict[str, Any]) -> Iterator[dict[str, Any]]:
    head = _head(body, "chat.completion.chunk")
    yield head | {"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}]}
    if isinstance(text, ToolCall):
        yield head | {"choices": [{"index": 0, "delta": _said(text), "finish_reason": None}]}
    for start in range(0, 0 if isinstance(text, ToolCall) else len(text), 40):
        delta = {"content": text[start : start + 40]}
        yield head | {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]}
    yield head | {"choices": [{"index": 0, "delta": {}, "finish_reason": _finish(text, finish)}]}
    if (body.get("stream_options") or {}).get("include_usage"):
        yield head | {"choices": [], "usage": usage}


def _text(message: Body) -> str:
    content = message.get("content") or ""
    return content if isinstance(content, str) else "".join(str(part.get("text", "")) for part in content)


def main() -> None:
    with LlmServer(delay=float(sys.argv[1]) if sys.argv[1:] else 0.0) as server:
        print(f"OPENAI_API_BASE={server.url} OPENAI_API_KEY=test", flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    main()
