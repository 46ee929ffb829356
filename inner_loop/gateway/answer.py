"""One request of an agent at the gateway: read within limits, forwarded, and answered as the API answers.

Callers are untrusted. Connections are closed after one request, so that no second request can hide behind it. Streams
are forwarded event by event; if the agent hangs up they are read to their end, because the API bills them anyway.
"""

from __future__ import annotations

import hmac
import json
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any

import httpx
from pydantic import JsonValue

from inner_loop.gateway.fields import Kind, RequestRefused
from inner_loop.gateway.request import ModelRequest, ask, counted, find, read
from inner_loop.gateway.route import Protocol, Route
from inner_loop.gateway.usage import ReplyReader
from programs.errors import MetaloopError

if TYPE_CHECKING:
    from inner_loop.gateway.call_meter import MeteredCall

_BODY_BYTES = 32 << 20  # Anthropic's own limit: https://docs.anthropic.com/en/api/overview
_BODY_SECONDS = 60.0
_SOCKET_SECONDS = 30.0
_ANSWER_BYTES, _ERROR_BYTES = 64 << 20, 1 << 20
_SENT = {"accept", "anthropic-beta", "anthropic-version", "content-type", "openai-beta", "user-agent"}
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


class Handler(BaseHTTPRequestHandler):
    """The HTTP handler of `server.Gateway`, which is at ``server.gateway``."""

    protocol_version = "HTTP/1.1"
    timeout = _SOCKET_SECONDS
    server: Any

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing on stderr."""

    def version_string(self) -> str:
        return "metaloop"

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
            if kind is None:
                self._free(route, rest, counted(read(data), route) if data else None)
            else:
                self._metered(route, rest, kind, data)
        except RequestRefused as refused:
            self._refuse(protocol, refused)
        except httpx.TimeoutException:
            self._refuse(protocol, RequestRefused(504, "the API did not answer in time"))
        except httpx.HTTPError:
            self._refuse(protocol, RequestRefused(502, "the API cannot be reached"))
        except MetaloopError as error:  # of ours: purse.json cannot be read
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

    def _open(self, route: Route, rest: str, content: bytes | None) -> Any:
        """A context manager that opens the API's answer."""
        headers = {name: value for name, value in self.headers.items() if name.lower() in _SENT and _plain(value)}
        headers |= {"accept-encoding": "identity", route.header: route.authorization()}
        if content is not None:
            headers |= {"content-type": "application/json"}
        return self.server.gateway.client.stream(self.command, route.url + rest, headers=headers, content=content)

    def _free(self, route: Route, rest: str, content: bytes | None) -> None:
        with self._open(route, rest, content) as response:
            self._whole(response, self._read(response))

    def _metered(self, route: Route, rest: str, kind: Kind, data: bytes) -> None:
        request = ask(kind, read(data), route)
        with self.server.gateway.meter.call(request, route) as call:
            try:
                with self._open(route, rest, call.content) as response:
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
        for piece in _pieces(response, _ANSWER_BYTES):
            *events, rest = (rest + piece).replace(b"\r\n", b"\n").split(b"\n\n")
            for event in events:
                yield self.server.gateway.clean(event + b"\n\n")
        if rest.strip():
            yield self.server.gateway.clean(rest)

    def _read(self, response: httpx.Response) -> bytes:
        most = _ANSWER_BYTES if response.status_code == 200 else _ERROR_BYTES
        return bytes(self.server.gateway.clean(b"".join(_pieces(response, most))))

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


def _plain(value: str) -> bool:
    """Whether a header can be forwarded: one line of ASCII."""
    return value.isascii() and value.isprintable()


def _pieces(response: httpx.Response, most: int) -> Iterator[bytes]:
    """The body of a response as it arrives, at most ``most`` bytes."""
    for piece in response.iter_bytes():
        most -= len(piece)
        if most < 0:
            raise httpx.ReadError("the answer is too long")
        yield piece
