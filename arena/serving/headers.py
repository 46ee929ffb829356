"""Security headers of every response, and what is refused before it is read."""

from __future__ import annotations

import hashlib
import re
from urllib.parse import urlsplit

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

VARY = "accept, authorization, cookie, host"
POLICY = "content-security-policy"
#: Of a page that has the hashes of its own scripts: without an origin, so that it reads and sends nothing here.
REPORT_POLICY = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:; "
REPORT_POLICY += "frame-ancestors 'none'; sandbox allow-scripts"
CARD_POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"  # of a picture with its own style
HEADERS = {
    POLICY: "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}
HOST = re.compile(r"(?:[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")


def same_site(request: Request) -> bool:
    """Whether the request comes from this site, according to the headers that the browser sent, if any."""
    origin = request.headers.get("origin")
    try:
        if origin is not None and urlsplit(origin).netloc != request.headers.get("host"):
            return False
    except ValueError:  # not a valid URL
        return False
    return request.headers.get("sec-fetch-site", "same-origin") in ("same-origin", "none")


def tagged(request: Request, body: bytes, status: int = 200) -> Response:
    """The page, or 304 where the browser has it; the part that live.js asks for has no clock in it."""
    tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    headers = {"vary": VARY, "etag": tag}
    if tag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return HTMLResponse(body, status, headers)


class WellFormed:
    """Answers 400 to requests that no browser sends or that a proxy and this server could parse differently."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or well_formed(scope):
            await self.app(scope, receive, send)
            return
        headers = [
            (b"content-type", b"text/plain; charset=utf-8"),
            (b"content-length", b"16"),
            (b"connection", b"close"),
        ]
        await send({"type": "http.response.start", "status": 400, "headers": headers})
        await send({"type": "http.response.body", "body": b"not well formed\n"})


def well_formed(scope: Scope) -> bool:
    """Whether there is one valid Host, a path of this server, and at most one header for the length of the body."""
    names = [name for name, _ in scope["headers"]]
    hosts = [value.decode("latin-1") for name, value in scope["headers"] if name == b"host"]
    path = str(scope["path"])
    one_host = len(hosts) == 1 and HOST.fullmatch(hosts[0]) is not None
    one_length = not (b"content-length" in names and b"transfer-encoding" in names)
    return one_host and one_length and path.startswith("/") and not path.startswith("//")


class SafeHeaders:
    """Adds HEADERS to every response, errors included."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                policy = headers.get(POLICY)
                for name, value in HEADERS.items():
                    headers[name] = value
                if policy in (CARD_POLICY, REPORT_POLICY):
                    headers[POLICY] = policy
                headers.setdefault("cache-control", "no-cache")
            await send(message)

        await self.app(scope, receive, marked if scope["type"] == "http" else send)


class HeadAsGet:
    """Answers HEAD as GET without the body."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self.app(scope, receive, send)
            return

        async def without_body(message: Message) -> None:
            if message["type"] == "http.response.body":
                message = {**message, "body": b""}
            await send(message)

        await self.app({**scope, "method": "GET"}, receive, without_body)
