"""The gateway of model APIs: the only way from an agent's sandbox to its model; the user's key stays on this side.

A small HTTP server on a Unix socket that is bound into the sandbox, where `agents/relay` gives it an address. It
forwards requests to the APIs of its routes and nowhere else: no other path, no redirect, no header of the agent that
could name another account. Each call is metered (`gateway/call_meter`).

Callers are untrusted, and need the token of the run. Connections are closed after one request, so that no second
request can hide behind it. Streams are forwarded event by event; if the agent hangs up they are read to their end,
because the API bills them anyway.
"""

from __future__ import annotations

import hmac
import json
import secrets
import shutil
import socket
import socketserver
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, suppress
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import httpx
from pydantic import JsonValue

from inner_loop.gateway.call_meter import CallMeter, MeteredCall
from inner_loop.gateway.fields import RequestRefused
from inner_loop.gateway.request import ModelRequest, ReplyReader, ask, find
from inner_loop.gateway.route import Protocol, Route, Upstream, bases, given
from inner_loop.models.scrub import forms
from inner_loop.run_context import RunContext
from programs.closing import Closing
from programs.errors import EnvironmentProblem, MetaloopError

PORT = 8114  # in the sandbox's own network
_CONNECTIONS = 64
_CONNECT_SECONDS = 15.0
_DRAIN_SECONDS = 3.0
_SOCKET_SECONDS = 30.0
_BODY_BYTES, _BODY_SECONDS = 32 << 20, 60.0  # Anthropic's own limit: https://docs.anthropic.com/en/api/overview
_ANSWER_BYTES = 64 << 20
_SECRET_CHARACTERS = 8  # a local server accepts any key, and a short one may occur in any reply
_FULL = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
_SENT = {"accept", "anthropic-beta", "anthropic-version", "openai-beta", "user-agent"}
_PASSED = ("content-type", "request-id", "x-request-id", "retry-after", "retry-after-ms", "x-should-retry")
_WORDS: dict[int, tuple[str, str]] = {  # OpenAI's and Anthropic's types of errors
    401: ("invalid_api_key", "authentication_error"),
    402: ("insufficient_quota", "billing_error"),
    404: ("not_found", "not_found_error"),
    413: ("request_too_large", "request_too_large"),
    502: ("server_error", "api_error"),
    503: ("server_error", "overloaded_error"),
    504: ("server_error", "timeout_error"),
}


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
        timeout = httpx.Timeout(context.config.call_timeout, connect=_CONNECT_SECONDS)
        self.client = httpx.Client(
            follow_redirects=False, timeout=timeout, limits=httpx.Limits(max_connections=None)
        )  # with proxies and certificates of our own environment
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


class Handler(BaseHTTPRequestHandler):
    """One request of an agent."""

    protocol_version = "HTTP/1.1"
    server_version, sys_version = "metaloop", ""
    timeout = _SOCKET_SECONDS
    server: Any

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing on stderr."""

    def do_HEAD(self) -> None:
        """Clients check whether the server is running."""
        self._answer(200, b"", {})

    def do_GET(self) -> None:
        self.close_connection = True
        protocol: Protocol = "anthropic" if self.path.startswith("/anthropic") else "openai"
        try:
            self._let_in()
            route, rest, kind = find(self.command, self.path, self.server.gateway.routes)
            protocol = route.protocol
            data = self._body()
            if kind is None:  # counting tokens is free, and has the same restrictions
                with self._open(route, rest, ask("messages", data, route).content if data else None) as response:
                    self._whole(response, self._read(response))
            else:
                self._forward(route, rest, ask(kind, data, route))
        except RequestRefused as refused:
            self._refuse(protocol, refused)
        except httpx.TimeoutException:
            self._refuse(protocol, RequestRefused(504, "the API did not answer in time"))
        except httpx.HTTPError:
            self._refuse(protocol, RequestRefused(502, "the API cannot be reached"))
        except MetaloopError as error:
            with self.server.gateway.meter.watched():
                raise error
            self._refuse(protocol, RequestRefused(503, "metaloop cannot continue"))

    do_POST = do_GET

    def _let_in(self) -> None:
        """Check the token, which the client sends as its key; it is not forwarded."""
        bearer = self.headers.get("Authorization", "").removeprefix("Bearer ")
        token = self.server.gateway.token.encode()
        for key in (bearer, self.headers.get("x-api-key", "")):
            if hmac.compare_digest(key.strip().encode("utf-8", "replace"), token):
                return
        raise RequestRefused(401, "use the key from the environment")

    def _body(self) -> bytes:
        if self.headers.get("Content-Encoding", "identity") != "identity":
            raise RequestRefused(415, "the body has an unsupported encoding")
        if self.command == "GET":
            return b""
        length = self.headers.get("Content-Length", "")
        if "Transfer-Encoding" in self.headers or not (length.isascii() and length.isdigit()):
            raise RequestRefused(411, "the request needs a Content-Length")
        if len(length) > 20 or int(length) > _BODY_BYTES:
            raise RequestRefused(413, f"the body is limited to {_BODY_BYTES} bytes")
        data, end = bytearray(), time.monotonic() + _BODY_SECONDS
        while len(data) < int(length):
            piece = self.rfile.read1(min(1 << 16, int(length) - len(data)))
            data += piece
            if not piece or time.monotonic() > end:
                raise RequestRefused(408, "the body did not arrive in time")
        return bytes(data)

    # --- to the API ------------------------------------------------------------------------------------------------

    def _open(self, route: Route, rest: str, content: bytes | None) -> AbstractContextManager[httpx.Response]:
        """The API's answer. Of the agent's headers those that are one line of ASCII and have no meaning for the key or
        the body are sent."""
        headers = {"accept-encoding": "identity", route.header: route.authorization()}
        for name, value in self.headers.items():
            if name.lower() in _SENT and value.isascii() and value.isprintable():
                headers[name.lower()] = value
        if content is not None:
            headers["content-type"] = "application/json"
        client: httpx.Client = self.server.gateway.client
        return client.stream(self.command, route.url + rest, headers=headers, content=content)

    def _forward(self, route: Route, rest: str, request: ModelRequest) -> None:
        with self.server.gateway.meter.call(request, route) as call:
            try:
                with self._open(route, rest, request.content) as response:
                    self._pass_on(response, request, call)
            except httpx.HTTPError as error:
                settle = call.free if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout) else call.lost
                settle(f"{type(error).__name__}: {error}")
                raise

    def _pass_on(self, response: httpx.Response, request: ModelRequest, call: MeteredCall) -> None:
        reading = ReplyReader(request.kind)
        if not response.is_success:
            data = self._read(response)
            call.free(f"HTTP {response.status_code}: {data[:200].decode('utf-8', 'replace')}")
            self._whole(response, data)
        elif response.headers.get("content-type", "").startswith("text/event-stream"):
            self._stream(response, request, call, reading)
        else:
            data = self._read(response)
            reading.whole(data)
            call.answered(reading)  # booked before the agent receives it
            self._whole(response, data)

    def _stream(self, response: httpx.Response, request: ModelRequest, call: MeteredCall, reading: ReplyReader) -> None:
        """Forward event by event. A broken stream ends for the agent without an end mark, as it did for us."""
        there = self._head(response.status_code, self._passed_headers(response) | {"Transfer-Encoding": "chunked"})
        try:
            for event in self._events(response):
                bare = reading.event(event)
                if there and not (bare and request.hides_usage):
                    there = self._write(b"%x\r\n%s\r\n" % (len(event), event))
        except httpx.HTTPError as error:
            call.lost(f"{type(error).__name__}: {error}")
            return
        if not reading.ended:
            call.lost("the stream broke off")
            return
        call.answered(reading)
        if there:
            self._write(b"0\r\n\r\n")

    def _events(self, response: httpx.Response) -> Iterator[bytes]:
        """Server-sent events, each with the empty line that ends it; also text after the last one."""
        rest = b""
        for piece in _pieces(response):
            *events, rest = (rest + piece).replace(b"\r\n", b"\n").split(b"\n\n")
            for event in events:
                yield self.server.gateway.clean(event + b"\n\n")
        if rest.strip():
            yield self.server.gateway.clean(rest)

    def _read(self, response: httpx.Response) -> bytes:
        return bytes(self.server.gateway.clean(b"".join(_pieces(response))))

    # --- to the agent ----------------------------------------------------------------------------------------------

    def _whole(self, response: httpx.Response, data: bytes) -> None:
        if 300 <= response.status_code < 400:
            raise RequestRefused(502, "the API redirects, which is not followed")
        self._answer(response.status_code, data, self._passed_headers(response))

    def _passed_headers(self, response: httpx.Response) -> dict[str, str]:
        """Headers that an agent needs; none that sets a cookie or names an account."""
        clean = self.server.gateway.clean
        headers = {name: response.headers[name] for name in _PASSED if name in response.headers}
        return {name: clean(value.encode("latin-1", "replace")).decode("latin-1") for name, value in headers.items()}

    def _answer(self, status: int, data: bytes, headers: dict[str, str]) -> None:
        if self._head(status, headers | {"Content-Length": str(len(data))}) and data:
            self._write(data)

    def _head(self, status: int, headers: dict[str, str]) -> bool:
        self.send_response(status)
        for name, value in (headers | {"Connection": "close"}).items():
            self.send_header(name, value)
        try:
            self.end_headers()
        except OSError:
            return False
        return True

    def _write(self, data: bytes) -> bool:
        """Whether the agent is still connected."""
        try:
            self.wfile.write(data)
        except OSError:
            return False
        return True

    def _refuse(self, protocol: Protocol, refused: RequestRefused) -> None:
        """An error in the API's own form; clients do not retry if that cannot help."""
        theirs, other = _WORDS.get(refused.status, ("invalid_request_error", "invalid_request_error"))
        if protocol == "anthropic":
            body: JsonValue = {"type": "error", "error": {"type": other, "message": refused.message}}
        else:
            body = {"error": {"message": refused.message, "type": theirs, "param": None, "code": theirs}}
        again = "true" if refused.status >= 500 else "false"
        headers = {"Content-Type": "application/json", "x-should-retry": again}
        self._answer(refused.status, json.dumps(body).encode(), headers)


def _pieces(response: httpx.Response) -> Iterator[bytes]:
    """The body of a response as it arrives, within a limit."""
    left = _ANSWER_BYTES
    for piece in response.iter_bytes():
        left -= len(piece)
        if left < 0:
            raise httpx.ReadError("the answer is too long")
        yield piece
