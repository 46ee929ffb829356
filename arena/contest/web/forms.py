"""The forms: join, log in, submit, log out. Each must carry a proof that it was sent from our own page."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import RedirectResponse
from starlette.concurrency import run_in_threadpool

from arena.contest.entering import accounts
from arena.contest.entering.entries import NotTaken
from arena.contest.ranking import views
from arena.contest.web.host import Host, Posted, weight_of
from arena.contest.web.pages import show
from arena.contest.web.security import HOSTING, SESSION, remember
from arena.serving.limits import customer_of
from programs.errors import UsageError

MOST_ECHOED = 100  # characters of a name
NO_TOKEN = (
    "your token was shown once, when you joined, and a lost one cannot be shown again: join above with another name; "
    "your entries keep the old one"
)


def form_routes(host: Host) -> APIRouter:
    """Everything that a browser posts."""
    routes = APIRouter(include_in_schema=False)
    _joining(routes, host)
    _entering(routes, host)
    return routes


def parent_field(form: Posted) -> str:
    """The entry that the text is based on, as typed."""
    return form.field("parent")[:MOST_ECHOED]


def echoed(raw: bytes) -> str:
    """The submitted text to fill the form with; empty if it is not text."""
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        return ""
    return "" if "\0" in text else text


def _joining(routes: APIRouter, host: Host) -> None:
    given = Depends(host.posted)

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
        try:
            cookie = accounts.log_in(host.contest.database, form.field("token"))
        except UsageError as problem:
            host.limited(host.limits.token, request)
            shown = UsageError(
                problem.message, hint=NO_TOKEN if isinstance(problem, accounts.AccessRefused) else problem.hint
            )
            return page_of(request, shown)
        response = RedirectResponse("/me", status_code=303)
        remember(response, request, SESSION, cookie, accounts.SESSION_DAYS * 86400)
        return response

    @routes.post("/logout", dependencies=[given])
    def logout(request: Request) -> Response:
        """Ends what the browser is logged in as: an entrant, the host, or both."""
        response = RedirectResponse("/", status_code=303)
        for cookie in (SESSION, HOSTING):
            accounts.log_out(host.contest.database, request.cookies.get(cookie, ""))
            response.delete_cookie(cookie, path="/")
        return response


def _entering(routes: APIRouter, host: Host) -> None:
    given = Depends(host.posted)

    def refused(request: Request, problem: NotTaken, text: str, parent: str, person: Any) -> Response:
        me, labels = views.person_view(host.contest, person), views.entry_labels(host.contest)
        filled = {"text": text, "parent": parent, "labels": labels, "guessed": False, "prefilled": False}
        return show(host, request, "me", 422, me=me, problem=problem, **filled)

    @routes.post("/enter")
    async def enter(request: Request, form: Posted = given) -> Response:
        person = await run_in_threadpool(host.viewer, request)
        if person is None:
            return RedirectResponse("/join", status_code=303)
        raw, parent = form.program, parent_field(form)
        host.limited(host.limits.entry, request, f"person {person.person_id}", weight_of(raw))
        try:
            accepted = await host.accept(person, raw, parent)
        except NotTaken as problem:
            return await run_in_threadpool(refused, request, problem, echoed(raw), parent, person)
        again = "" if accepted.new else "?again=yes"
        response = RedirectResponse(f"/entry/{accepted.entry.entry_id}{again}", status_code=303)
        # for the entry's page: draft.js no longer keeps the text
        response.set_cookie(
            "stored", "yes", max_age=60, path="/entry", samesite="strict", secure=request.url.scheme == "https"
        )
        return response
