"""Security headers of every response, and the proof that a form was sent from our own page."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from arena.contest.client import API, API_HEADER

SESSION, VISITOR = "contest_session", "contest_visitor"  # cookies: the session; the browser that a form belongs to
HOSTING = "contest_host"  # cookie of a browser in which the host logged in
YEAR = 365 * 86400
POLICY = "content-security-policy"
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
                own = headers.get(POLICY)
                for name, value in HEADERS.items():
                    headers[name] = value
                if own == CARD_POLICY:
                    headers[POLICY] = own
                headers.setdefault("cache-control", "no-cache")
            await send(message)

        await self.app(scope, receive, marked if scope["type"] == "http" else send)


class ApiVersion:
    """Says the version of the API in every response of it, and refuses a client that names another one."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not str(scope["path"]).startswith("/api/"):
            await self.app(scope, receive, send)
            return

        async def marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)[API_HEADER] = str(API)
            await send(message)

        named = Headers(scope=scope).get(API_HEADER, str(API))
        if named == str(API):
            await self.app(scope, receive, marked)
            return
        said = {
            "message": f"this contest speaks version {API} of the API, not {named[:20]!r}",
            "hint": "install the version of metaloop that the contest's rules name",
        }
        await JSONResponse({"error": said}, 426)(scope, receive, marked)


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


def visitor_of(request: Request) -> str:
    """The browser's random id: from its cookie, or a new one, which `remember` sets."""
    return request.cookies.get(VISITOR) or secrets.token_urlsafe(24)


def form_token(server_key: str, visitor: str, session: str) -> str:
    """The proof that a form must return: bound to browser and session, signed with the server's key."""
    return hmac.new(bytes.fromhex(server_key), f"{visitor}\0{session}".encode(), hashlib.sha256).hexdigest()


def form_is_ours(request: Request, server_key: str, brought: str) -> bool:
    """Whether a posted form came from our page in this browser."""
    visitor = request.cookies.get(VISITOR, "")
    expected = form_token(server_key, visitor, request.cookies.get(SESSION, ""))
    alike = hmac.compare_digest(expected.encode(), brought.encode("utf-8", "surrogatepass"))
    return bool(visitor) and same_site(request) and alike


def same_site(request: Request) -> bool:
    """Whether the request comes from this site, according to the headers that the browser sent, if any."""
    origin = request.headers.get("origin")
    try:
        if origin is not None and urlsplit(origin).netloc != request.headers.get("host"):
            return False
    except ValueError:  # not a valid URL
        return False
    return request.headers.get("sec-fetch-site", "same-origin") in ("same-origin", "none")


def remember(response: Response, request: Request, name: str, value: str, seconds: int = YEAR) -> None:
    response.set_cookie(
        name, value, max_age=seconds, httponly=True, samesite="strict", path="/", secure=request.url.scheme == "https"
    )
