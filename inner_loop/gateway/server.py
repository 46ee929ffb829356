"""The gateway of model APIs: the only way from an agent's sandbox to its model; the user's key stays on this side.

A small HTTP server on a Unix socket that is bound into the sandbox, where the first process gives it an address. It
forwards model calls to one address for each API: no other path, no redirect, no header of the agent that could name
another account. Callers are untrusted and need the token of the run. Streams are forwarded event by event; if the agent
hangs up they are read to their end, because the API bills them anyway.

Does not cover: a key that an API sends back in pieces or in a code of its own.
"""

from __future__ import annotations

import hmac
import json
import re
import secrets
import shutil
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from fnmatch import fnmatchcase
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingTCPServer
from typing import Any

import httpx

from inner_loop.gateway.call_meter import CallMeter, MeteredCall
from inner_loop.gateway.request import Kind, ModelRequest, parse_request
from inner_loop.gateway.route import Protocol, Route, Upstream
from inner_loop.gateway.serving import CONNECTIONS, GATEWAY_PORT, RequestRefused, private_socket
from inner_loop.models.reply_limits import Redirected, Refused, limited
from inner_loop.models.scrub import forms
from inner_loop.run_context import RunContext
from programs.common.closing import Closing
from programs.common.errors import UsageError

_CONNECT_SECONDS = 15.0
_DRAIN_SECONDS = 3.0
_FULL = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
_SOCKET_SECONDS = 30.0
_BODY_BYTES, _BODY_SECONDS = 16 << 20, 60.0
_LARGE_BYTES, _LARGE_BODIES = 1 << 20, 4  # bodies of more bytes, of which so many are held at once
_REPLY_BYTES = 64 << 20  # of a stream, an event for each token
_SECRET_CHARACTERS = 8  # a local server accepts any key, and a short one may occur in any reply
_METERED: dict[str, Kind] = {"chat/completions": "chat", "responses": "responses", "v1/messages": "messages"}
#: Requests of each protocol; those that are not metered are free.
_PATHS: dict[Protocol, re.Pattern[str]] = {
    "openai": re.compile(r"POST (chat/completions|responses)|GET models(/[A-Za-z0-9][A-Za-z0-9._:-]{0,100})?"),
    "anthropic": re.compile(r"POST v1/messages(/count_tokens)?|GET v1/models(/[A-Za-z0-9][A-Za-z0-9._:-]{0,100})?"),
}
_QUERY = re.compile(r"[A-Za-z0-9_=&.-]{0,200}")
_REQUEST_HEADERS = {"accept", "anthropic-beta", "anthropic-version", "openai-beta", "user-agent"}
_REPLY_HEADERS = {"content-type", "request-id", "x-request-id", "retry-after", "retry-after-ms", "x-should-retry"}
_ERRORS = {  # Anthropic's type, OpenAI's code
    401: ("authentication_error", "invalid_api_key"),
    402: ("billing_error", "insufficient_quota"),
    404: ("not_found_error", "not_found"),
}


class Gateway(Closing, ThreadingTCPServer):
    """Open from its creation to `close`. ``shared``: the sandbox has the machine's network, so the gateway listens
    on a port of 127.0.0.1, which other processes can reach but not use without the token. ``models``: patterns of
    models that the agent calls besides those of --model."""

    daemon_threads = True

    def __init__(
        self, upstreams: Mapping[str, Upstream], routes: tuple[Route, ...], context: RunContext, *, shared: bool,
        models: Sequence[str] = (),
    ) -> None:  # fmt: skip
        self.routes = routes
        self.token = f"metaloop-{secrets.token_hex(20)}"
        self.meter = CallMeter(context)
        timeout = httpx.Timeout(context.config.call_timeout, connect=_CONNECT_SECONDS)
        limits = httpx.Limits(max_connections=None)  # with proxies and certificates of our own environment
        self.client = limited(httpx.Client(timeout=timeout, limits=limits), _REPLY_BYTES)
        self.large_bodies = threading.BoundedSemaphore(_LARGE_BODIES)
        self._parsing = threading.Lock()  # parsed, a body takes many times its bytes
        self._model_names, self._model_patterns = context.config.models, models
        self._upstreams = upstreams
        super().__init__(("127.0.0.1", 0), Handler, bind_and_activate=shared)
        self.path: Path | None = None
        if not shared:
            self.socket.close()
            self.path, self.socket = private_socket()
        self.connections = threading.BoundedSemaphore(CONNECTIONS)
        self._thread = threading.Thread(target=self.serve_forever, args=(0.1,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Wait a moment for calls in flight, and settle the rest."""
        self.meter.close(_DRAIN_SECONDS)
        self.shutdown()
        self._thread.join()
        self.server_close()
        if self.path:
            shutil.rmtree(self.path.parent, ignore_errors=True)
        self.client.close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """An agent that hung up is not an error of ours, nor is a call that `close` has cut."""
        if not isinstance(sys.exc_info()[1], OSError) and self._thread.is_alive():
            super().handle_error(request, client_address)

    def bases(self) -> dict[str, str]:
        """Name of an API → its base URL as the agent reaches it, whether or not there is a key for it."""
        port = GATEWAY_PORT if self.path else self.socket.getsockname()[1]
        upstreams = self._upstreams.items()
        return {name: f"http://127.0.0.1:{port}{upstream.prefix(name).rstrip('/')}" for name, upstream in upstreams}

    def variables(self) -> dict[str, str]:
        """The agent's: the gateway's addresses, and its token in place of keys."""
        variables: dict[str, str] = {}
        for route in self.routes:
            upstream = self._upstreams[route.name]
            variables |= dict.fromkeys(upstream.base, self.bases()[route.name])
            variables |= dict.fromkeys(upstream.keys, self.token)
        return variables

    def parse(self, kind: Kind, data: bytearray) -> ModelRequest:
        """The request in a body. Raises RequestRefused, also for another model than those that the user named: it could
        have a network, or be dearer."""
        with self._parsing:
            request = parse_request(kind, data)
        model, names = request.model, self._model_names
        is_named = any(f"/{name}".endswith(f"/{model}") for name in names)
        if is_named or any(fnmatchcase(model, pattern) for pattern in self._model_patterns):
            return request
        if not (names or self._model_patterns):
            hint = f"-m {model}; a study that has begun keeps its settings: start another"
            problem = UsageError(f"the agent asks for the model {model}, and --model names none", hint=hint)
            self.meter.problem = self.meter.problem or problem
        allowed = ", ".join(names)[:80] or f"-m {model[:80]}"
        raise RequestRefused(400, f"{model[:80]}: only models that --model names are forwarded: {allowed}")

    def redact(self, data: bytes) -> bytes:
        """A response without our keys: some APIs echo what they receive."""
        for route in self.routes:
            for form in forms(route.secret) if len(route.secret) >= _SECRET_CHARACTERS else ():
                data = data.replace(form.encode("utf-8", "surrogateescape"), b"[secret]")
        return data


class Handler(BaseHTTPRequestHandler):
    """One request of an agent; the connection is closed after it, so that no second one can hide behind it."""

    timeout = _SOCKET_SECONDS
    protocol_version = default_request_version = "HTTP/1.1"
    server_version, sys_version = "metaloop", ""
    server: Gateway

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing on stderr."""

    def handle(self) -> None:
        """One request, unless too many connections are open."""
        if not self.server.connections.acquire(blocking=False):
            self.wfile.write(_FULL)
            return
        try:
            super().handle()
        finally:
            self.server.connections.release()

    def do_HEAD(self) -> None:
        """Clients check whether the server is running."""
        self._send_whole(200, b"", {})

    def do_GET(self) -> None:
        try:
            self._check_token()
            route, path, kind = self._find_route()
            length = self._body_length()
            with self.server.large_bodies if length > _LARGE_BYTES else nullcontext():
                # counting tokens is free, and has the same restrictions
                request = self.server.parse(kind or "messages", self._read_body(length)) if length or kind else None
                with self.server.meter.call(request, route) if request and kind else nullcontext() as call:
                    self._forward(route, path, request, call)
        except RequestRefused as refused:
            self._refuse(refused.status, refused.message)
        except httpx.TimeoutException:
            self._refuse(504, "the API did not answer in time")
        except Refused as refused:
            self._refuse(502, f"the API sent {refused}")
        except httpx.HTTPError:
            self._refuse(502, "the API cannot be reached")

    do_POST = do_GET

    def _check_token(self) -> None:
        """The client sends the run's token as its key; it is not forwarded."""
        bearer = self.headers.get("Authorization", "").removeprefix("Bearer ")
        for key in (bearer, self.headers.get("x-api-key", "")):
            if hmac.compare_digest(key.strip().encode("utf-8", "replace"), self.server.token.encode()):
                return
        raise RequestRefused(401, "use the key from the environment")

    def _find_route(self) -> tuple[Route, str, Kind | None]:
        """The route, the path to append to its URL, and the kind of a metered request, None for a free one. Paths are
        compared exactly, so none leaves an API."""
        path, mark, query = self.path.partition("?")
        route = next((route for route in self.server.routes if path.startswith(route.prefix)), None)
        if route is None:
            known = ", ".join(route.prefix for route in self.server.routes)
            raise RequestRefused(404, f"there is no API at {path[:80]!r}: {known}")
        if not _QUERY.fullmatch(query):
            raise RequestRefused(400, "this query is not forwarded")
        path = path.removeprefix(route.prefix)
        if not _PATHS[route.protocol].fullmatch(f"{self.command} {path}"):
            raise RequestRefused(404, f"{self.command} {path[:80]} is not forwarded: only model calls are")
        return route, f"/{path}{mark}{query}", _METERED.get(path)

    def _body_length(self) -> int:
        """Bytes."""
        if self.headers.get("Content-Encoding", "identity") != "identity":
            raise RequestRefused(415, "the body has an unsupported encoding")
        if self.command == "GET":
            return 0
        length = self.headers.get("Content-Length", "")
        if "Transfer-Encoding" in self.headers or not (length.isascii() and length.isdigit()):
            raise RequestRefused(411, "the request needs a Content-Length")
        if len(length) > 20 or int(length) > _BODY_BYTES:
            raise RequestRefused(413, f"the body is limited to {_BODY_BYTES} bytes")
        return int(length)

    def _read_body(self, length: int) -> bytearray:
        data, end = bytearray(), time.monotonic() + _BODY_SECONDS
        while len(data) < length:
            piece = self.rfile.read1(min(1 << 16, length - len(data)))
            data += piece
            if not piece or time.monotonic() > end:
                raise RequestRefused(408, "the body did not arrive in time")
        return data

    def _open(self, route: Route, path: str, request: ModelRequest | None) -> AbstractContextManager[httpx.Response]:
        """The API's reply. Of the agent's headers those that are one line of ASCII and have no meaning for the key or
        the body are sent."""
        headers = {"content-type": "application/json", **route.authorization}
        for name, value in self.headers.items():
            if name.lower() in _REQUEST_HEADERS and value.isascii() and value.isprintable():
                headers[name.lower()] = value
        content = request.content if request else None
        return self.server.client.stream(self.command, route.url + path, headers=headers, content=content)

    def _forward(self, route: Route, path: str, request: ModelRequest | None, call: MeteredCall | None) -> None:
        """``call``: None for a free request."""
        try:
            with self._open(route, path, request) as response:
                is_stream = response.headers.get("content-type", "").startswith("text/event-stream")
                if request and call and is_stream and response.is_success:
                    self._forward_stream(response, call, request.hides_usage)
                else:
                    self._forward_whole(response, call)
        except httpx.HTTPError as error:
            if call:
                free = isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | Redirected)
                call.fail(f"{type(error).__name__}: {error}", free=free)
            raise

    def _forward_whole(self, response: httpx.Response, call: MeteredCall | None) -> None:
        data = self.server.redact(response.read())
        if call and response.is_success:
            call.reply.read_whole(data)
            call.answer()  # booked before the agent receives it
        elif call:
            call.fail(f"HTTP {response.status_code}: {data[:200].decode('utf-8', 'replace')}", free=True)
        self._send_whole(response.status_code, data, self._reply_headers(response))

    def _forward_stream(self, response: httpx.Response, call: MeteredCall, hides_usage: bool) -> None:
        """Event by event. A broken stream ends for the agent without an end mark, as it did for us."""
        headers = self._reply_headers(response) | {"Transfer-Encoding": "chunked"}
        with suppress(OSError):
            self._send_head(response.status_code, headers)
        is_connected = True
        try:
            for event in self._events(response):
                has_only_usage = call.reply.read_event(event)
                if is_connected and not (has_only_usage and hides_usage):
                    is_connected = self._write(b"%x\r\n%s\r\n" % (len(event), event))
        except httpx.HTTPError as error:
            call.fail(f"{type(error).__name__}: {error}")
            return
        if not call.reply.has_ended:
            call.fail("the stream broke off")
            return
        call.answer()
        if is_connected:
            self._write(b"0\r\n\r\n")

    def _events(self, response: httpx.Response) -> Iterator[bytes]:
        """Server-sent events, each with the empty line that ends it; also text after the last one."""
        rest = bytearray()
        for piece in response.iter_raw():
            rest += piece
            if b"\n\n" not in rest[-len(piece) - 3 :].replace(b"\r\n", b"\n"):
                continue  # without a copy of all for each piece
            *events, begun = bytes(rest).replace(b"\r\n", b"\n").split(b"\n\n")
            for event in events:
                yield self.server.redact(event + b"\n\n")
            rest = bytearray(begun)
        if rest.strip():
            yield self.server.redact(bytes(rest))

    def _reply_headers(self, response: httpx.Response) -> dict[str, str]:
        """Headers that an agent needs; none that sets a cookie or names an account."""
        headers = {name: response.headers[name] for name in _REPLY_HEADERS & {*response.headers}}
        redact = self.server.redact
        return {name: redact(value.encode("latin-1", "replace")).decode("latin-1") for name, value in headers.items()}

    def _send_whole(self, status: int, data: bytes, headers: dict[str, str]) -> None:
        self._send_head(status, headers | {"Content-Length": str(len(data))})
        self.wfile.write(data)

    def _send_head(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in (headers | {"Connection": "close"}).items():
            self.send_header(name, value)
        self.end_headers()

    def _write(self, data: bytes) -> bool:
        """Whether the agent is still connected."""
        with suppress(OSError):
            self.wfile.write(data)
            return True
        return False

    def _refuse(self, status: int, message: str) -> None:
        """An error in a form that clients of both protocols read; they do not retry if that cannot help."""
        form, code = _ERRORS.get(status, ("api_error" if status >= 500 else "invalid_request_error", None))
        error = {"type": form, "code": code, "message": message, "param": None}
        headers = {"Content-Type": "application/json", "x-should-retry": "true" if status >= 500 else "false"}
        self._send_whole(status, json.dumps({"type": "error", "error": error}).encode(), headers)
