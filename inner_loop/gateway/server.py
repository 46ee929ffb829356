"""The gateway of model APIs: the only way from an agent's sandbox to its model; the user's key stays on this side.

A small HTTP server on a Unix socket that is bound into the sandbox, where the first process gives it an address. It
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
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from fnmatch import fnmatchcase

import httpx
from pydantic import JsonValue

from inner_loop.gateway.call_meter import CallMeter, MeteredCall
from inner_loop.gateway.fields import Kind, searches
from inner_loop.gateway.request import ModelRequest, ask, find
from inner_loop.gateway.route import Protocol, Route, Upstream
from inner_loop.gateway.serving import GATEWAY_PORT, ByteBudget, LocalHandler, LocalServer, RequestRefused
from inner_loop.models.scrub import forms
from inner_loop.run_context import RunContext
from programs.common.errors import UsageError

_CONNECT_SECONDS = 15.0
_DRAIN_SECONDS = 3.0
_SOCKET_SECONDS = 30.0
_BODY_BYTES, _HELD_BYTES, _BODY_SECONDS = 16 << 20, 64 << 20, 60.0  # of one body, and of all at once
_ANSWER_BYTES = 64 << 20
_SECRET_CHARACTERS = 8  # a local server accepts any key, and a short one may occur in any reply
_SENT = {"accept", "anthropic-beta", "anthropic-version", "openai-beta", "user-agent"}
_PASSED = {"content-type", "request-id", "x-request-id", "retry-after", "retry-after-ms", "x-should-retry"}
_WORDS = {  # OpenAI's and Anthropic's types of errors
    401: ("invalid_api_key", "authentication_error"),
    402: ("insufficient_quota", "billing_error"),
    404: ("not_found", "not_found_error"),
}


class Gateway(LocalServer):
    """Open from its creation to `close`. ``shared``: the sandbox has the machine's network, so the gateway listens
    on a port of 127.0.0.1, which other processes can reach but not use without the token. ``models``: patterns of
    models that the agent calls besides those of --model."""

    def __init__(
        self, upstreams: Mapping[str, Upstream], routes: tuple[Route, ...], context: RunContext, *, shared: bool,
        models: Sequence[str] = (),
    ) -> None:  # fmt: skip
        self.routes = routes
        self.held = ByteBudget(_HELD_BYTES)
        self._parsing = threading.Lock()  # parsed, a body takes many times its bytes
        self._named, self._patterns = context.config.models, models
        self.token = f"metaloop-{secrets.token_hex(20)}"
        self.meter = CallMeter(context)
        timeout = httpx.Timeout(context.config.call_timeout, connect=_CONNECT_SECONDS)
        many = httpx.Limits(max_connections=None)  # with proxies and certificates of our own environment
        self.client = httpx.Client(follow_redirects=False, timeout=timeout, limits=many)
        self._upstreams = upstreams
        super().__init__(Handler, shared=shared)

    def close(self) -> None:
        """Wait a moment for calls in flight, and settle the rest."""
        self.meter.close(_DRAIN_SECONDS)
        super().close()
        self.client.close()

    def bases(self) -> dict[str, str]:
        """Name of an API → its base URL as the agent reaches it, whether or not there is a key for it."""
        port = GATEWAY_PORT if self.path else self.socket.getsockname()[1]
        upstreams = self._upstreams.items()
        return {name: f"http://127.0.0.1:{port}{one.prefix(name).rstrip('/')}" for name, one in upstreams}

    def variables(self) -> dict[str, str]:
        """The agent's: the gateway's addresses, and its token in place of keys."""
        variables: dict[str, str] = {}
        for route in self.routes:
            upstream = self._upstreams[route.name]
            variables |= dict.fromkeys(upstream.base, self.bases()[route.name])
            variables |= dict.fromkeys(upstream.keys, self.token)
        return variables

    def request(self, kind: Kind, data: bytearray) -> ModelRequest:
        """The request in a body. Raises RequestRefused, also for another model than those that the user named: it could
        have a network, or be dearer."""
        with self._parsing:
            request = ask(kind, data)
        model, names = request.model, self._named
        if searches(model):
            hint = "--set agent_direct=true calls it, without a limit of its cost"
            raise RequestRefused(400, f"{model[:80]}: models that search the web are not forwarded; {hint}")
        is_named = any(f"/{name}".endswith(f"/{model}") for name in names)
        if is_named or any(fnmatchcase(model, pattern) for pattern in self._patterns):
            return request
        if not (names or self._patterns):
            hint = f"-m {model}; a study that has begun keeps its settings: start another"
            problem = UsageError(f"the agent asks for the model {model}, and --model names none", hint=hint)
            self.meter.problem = self.meter.problem or problem
        known = ", ".join(names)[:80] or f"-m {model[:80]}"
        raise RequestRefused(400, f"{model[:80]}: only models that --model names are forwarded: {known}")

    def clean(self, data: bytes) -> bytes:
        """A response without our keys: some APIs echo what they receive."""
        for route in self.routes:
            for form in forms(route.secret) if len(route.secret) >= _SECRET_CHARACTERS else ():
                data = data.replace(form.encode("utf-8", "surrogateescape"), b"[secret]")
        return data


class Handler(LocalHandler):
    """One request of an agent."""

    timeout = _SOCKET_SECONDS
    server: Gateway

    def do_HEAD(self) -> None:
        """Clients check whether the server is running."""
        self.answer(200, b"", {})

    def do_GET(self) -> None:
        protocol: Protocol = "anthropic" if self.path.startswith("/anthropic") else "openai"
        try:
            self._let_in()
            route, rest, kind = find(self.command, self.path, self.server.routes)
            protocol = route.protocol
            length = self._length()
            with self.server.held.hold(length, _BODY_SECONDS):
                # counting tokens is free, and has the same restrictions
                request = self.server.request(kind or "messages", self._body(length)) if length or kind else None
                if request is None or kind is None:
                    with self._open(route, rest, request.content if request else None) as response:
                        self._whole(response, self._read(response))
                    return
                with self.server.meter.call(request, route) as call:
                    self._forward(route, rest, request, call)
        except RequestRefused as refused:
            self._refuse(protocol, refused)
        except httpx.TimeoutException:
            self._refuse(protocol, RequestRefused(504, "the API did not answer in time"))
        except httpx.HTTPError:
            self._refuse(protocol, RequestRefused(502, "the API cannot be reached"))

    do_POST = do_GET

    def _let_in(self) -> None:
        """Check the token, which the client sends as its key; it is not forwarded."""
        bearer = self.headers.get("Authorization", "").removeprefix("Bearer ")
        token = self.server.token.encode()
        for key in (bearer, self.headers.get("x-api-key", "")):
            if hmac.compare_digest(key.strip().encode("utf-8", "replace"), token):
                return
        raise RequestRefused(401, "use the key from the environment")

    def _length(self) -> int:
        """The number of bytes of the body."""
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

    def _body(self, length: int) -> bytearray:
        data, end = bytearray(), time.monotonic() + _BODY_SECONDS
        while len(data) < length:
            piece = self.rfile.read1(min(1 << 16, length - len(data)))
            data += piece
            if not piece or time.monotonic() > end:
                raise RequestRefused(408, "the body did not arrive in time")
        return data

    def _open(self, route: Route, rest: str, content: bytes | None) -> AbstractContextManager[httpx.Response]:
        """The API's answer. Of the agent's headers those that are one line of ASCII and have no meaning for the key or
        the body are sent."""
        headers = {"accept-encoding": "identity", **route.authorization}
        for name, value in self.headers.items():
            if name.lower() in _SENT and value.isascii() and value.isprintable():
                headers[name.lower()] = value
        if content is not None:
            headers["content-type"] = "application/json"
        return self.server.client.stream(self.command, route.url + rest, headers=headers, content=content)

    def _forward(self, route: Route, rest: str, request: ModelRequest, call: MeteredCall) -> None:
        try:
            with self._open(route, rest, request.content) as response:
                if response.headers.get("content-type", "").startswith("text/event-stream") and response.is_success:
                    self._stream(response, call, request.hides_usage)
                    return
                data = self._read(response)
                if response.is_success:
                    call.reading.whole(data)
                    call.answered()  # booked before the agent receives it
                else:
                    call.failed(f"HTTP {response.status_code}: {data[:200].decode('utf-8', 'replace')}", free=True)
                self._whole(response, data)
        except httpx.HTTPError as error:
            free = isinstance(error, httpx.ConnectError | httpx.ConnectTimeout)
            call.failed(f"{type(error).__name__}: {error}", free=free)
            raise

    def _stream(self, response: httpx.Response, call: MeteredCall, hides_usage: bool) -> None:
        """Forward event by event. A broken stream ends for the agent without an end mark, as it did for us."""
        there = self.head(response.status_code, self._passed_headers(response) | {"Transfer-Encoding": "chunked"})
        try:
            for event in self._events(response):
                bare = call.reading.event(event)
                if there and not (bare and hides_usage):
                    there = self.write(b"%x\r\n%s\r\n" % (len(event), event))
        except httpx.HTTPError as error:
            call.failed(f"{type(error).__name__}: {error}")
            return
        if not call.reading.ended:
            call.failed("the stream broke off")
            return
        call.answered()
        if there:
            self.write(b"0\r\n\r\n")

    def _events(self, response: httpx.Response) -> Iterator[bytes]:
        """Server-sent events, each with the empty line that ends it; also text after the last one."""
        rest = bytearray()
        for piece in _pieces(response):
            rest += piece
            if b"\n\n" not in rest[-len(piece) - 3 :].replace(b"\r\n", b"\n"):
                continue  # without a copy of all for each piece
            *events, begun = bytes(rest).replace(b"\r\n", b"\n").split(b"\n\n")
            for event in events:
                yield self.server.clean(event + b"\n\n")
            rest = bytearray(begun)
        if rest.strip():
            yield self.server.clean(bytes(rest))

    def _read(self, response: httpx.Response) -> bytes:
        return self.server.clean(b"".join(_pieces(response)))

    def _whole(self, response: httpx.Response, data: bytes) -> None:
        if 300 <= response.status_code < 400:
            raise RequestRefused(502, "the API redirects, which is not followed")
        self.answer(response.status_code, data, self._passed_headers(response))

    def _passed_headers(self, response: httpx.Response) -> dict[str, str]:
        """Headers that an agent needs; none that sets a cookie or names an account."""
        headers = {name: response.headers[name].encode("latin-1", "replace") for name in _PASSED & {*response.headers}}
        return {name: self.server.clean(value).decode("latin-1") for name, value in headers.items()}

    def _refuse(self, protocol: Protocol, refused: RequestRefused) -> None:
        """An error in the API's own form; clients do not retry if that cannot help."""
        others = ("server_error", "api_error") if refused.status >= 500 else ("invalid_request_error",) * 2
        theirs, other = _WORDS.get(refused.status, others)
        if protocol == "anthropic":
            body: JsonValue = {"type": "error", "error": {"type": other, "message": refused.message}}
        else:
            body = {"error": {"message": refused.message, "type": theirs, "param": None, "code": theirs}}
        again = "true" if refused.status >= 500 else "false"
        headers = {"Content-Type": "application/json", "x-should-retry": again}
        self.answer(refused.status, json.dumps(body).encode(), headers)


def _pieces(response: httpx.Response) -> Iterator[bytes]:
    """The body of a response as it arrives, within a limit, which a compressed one would exceed before it is seen."""
    if response.headers.get("content-encoding", "identity") != "identity":
        raise httpx.DecodingError("the answer is compressed, which was not asked for")
    left = _ANSWER_BYTES
    for piece in response.iter_raw():
        left -= len(piece)
        if left < 0:
            raise httpx.ReadError("the answer is too long")
        yield piece
