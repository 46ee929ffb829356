"""The forms: join, log in, log out. Each must carry a proof that it was sent from our own page."""

from __future__ import annotations

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import RedirectResponse

from arena.contest.entering import accounts
from arena.contest.web.host import Host, Posted
from arena.contest.web.pages import show
from arena.contest.web.security import HOSTING, SESSION, remember
from arena.serving.limits import customer_of
from programs.common.errors import UsageError

MOST_ECHOED = 100  # characters of a name
NO_TOKEN = (
    "your token was shown once, when you joined, and a lost one cannot be shown again: join above with another name; "
    "your entries keep the old one"
)


def form_routes(host: Host) -> APIRouter:
    """What a browser posts about an account."""
    routes, given = APIRouter(include_in_schema=False), Depends(host.posted)

    def page_of(
        request: Request, problem: UsageError | None = None, token: str = "", name: str = "", code: str = ""
    ) -> Response:
        typed = {"typed": name[:MOST_ECHOED], "code": code[:MOST_ECHOED]}  # on a phone, both take time to type
        return show(host, request, "join", 422 if problem else 200, problem=problem, token=token, **typed)

    @routes.get("/join")
    def ask(request: Request) -> Response:
        return page_of(request)

    @routes.post("/join")
    def join(request: Request, form: Posted = given) -> Response:
        host.limited(host.limits.join, request, customer_of(request))
        contest, name, code = host.contest, form.field("name"), form.field("code")
        try:
            _, token = accounts.join(contest.database, contest.config, name, code)
        except UsageError as problem:
            return page_of(request, problem, "", name, code)
        cookie = accounts.log_in(contest.database, token)
        request.cookies[SESSION] = cookie  # the page is already that of a logged-in browser, and so are its forms
        response = page_of(request, None, token)
        remember(response, request, SESSION, cookie, accounts.SESSION_DAYS * 86400)
        response.headers["cache-control"] = "no-store"
        return response

    @routes.post("/login")
    def login(request: Request, form: Posted = given) -> Response:
        """With an entrant's token or the host's; a browser may be logged in as both."""
        token = form.field("token").strip()
        is_host = token.startswith(accounts.ADMIN)
        try:
            cookie = (accounts.log_in_host if is_host else accounts.log_in)(host.contest.database, token)
        except accounts.AccessRefused as problem:
            host.limited(host.limits.token, request)
            return page_of(request, UsageError(problem.message, hint="" if is_host else NO_TOKEN))
        response = RedirectResponse("/host" if is_host else "/me", status_code=303)
        seconds = accounts.HOST_SECONDS if is_host else accounts.SESSION_DAYS * 86400
        remember(response, request, HOSTING if is_host else SESSION, cookie, seconds)
        return response

    @routes.post("/logout", dependencies=[given])
    def logout(request: Request) -> Response:
        """Ends what the browser is logged in as: an entrant, the host, or both."""
        response = RedirectResponse("/", status_code=303)
        for cookie in (SESSION, HOSTING):
            accounts.log_out(host.contest.database, request.cookies.get(cookie, ""))
            response.delete_cookie(cookie, path="/")
        return response

    return routes
