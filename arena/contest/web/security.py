"""The version of the API, and the proof that a form was sent from our own page."""

from __future__ import annotations

import hashlib
import hmac
import secrets

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from arena.contest.client import API, API_HEADER
from arena.serving.headers import same_site

SESSION, VISITOR = "contest_session", "contest_visitor"  # cookies: the session; the browser that a form belongs to
HOSTING = "contest_host"  # cookie of a browser in which the host logged in
YEAR = 365 * 86400


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

        version = Headers(scope=scope).get(API_HEADER, str(API))
        if version == str(API):
            await self.app(scope, receive, marked)
            return
        problem = {
            "message": f"this contest speaks version {API} of the API, not {version[:20]!r}",
            "hint": "install the version of metaloop that the contest's rules name",
        }
        await JSONResponse({"error": problem}, 426)(scope, receive, marked)


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


def remember(response: Response, request: Request, name: str, value: str, seconds: int = YEAR) -> None:
    response.set_cookie(
        name, value, max_age=seconds, httponly=True, samesite="strict", path="/", secure=request.url.scheme == "https"
    )
