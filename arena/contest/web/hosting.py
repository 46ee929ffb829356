"""The host's page and API: void or reinstate an entry, remove an account, close, see the state of queue and workers.

In a browser the host logs in with the admin token for a day; every button requires a reason or a tick.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable
from datetime import datetime
from typing import Any

from fastapi import APIRouter, Depends, HTTPException, Request, Response
from fastapi.responses import RedirectResponse
from pydantic import BaseModel, Field

from arena.contest.contest import Contest
from arena.contest.entering import acts, removal
from arena.contest.ranking.views import host_rows
from arena.contest.running.health import QueueHealth, health
from arena.contest.tables import Act
from arena.contest.web.host import Host, Posted
from arena.contest.web.pages import show
from arena.serving.limits import IN_A_FORM, EntryId
from programs.common.errors import NotFound, UsageError

Done = Callable[[Posted], object]


class Because(BaseModel):
    """The reason; public."""

    because: str = Field(max_length=2 * acts.MOST_REASON)


def hosting_routes(host: Host) -> APIRouter:
    routes = APIRouter()
    _page(routes, host)
    _buttons(routes, host)
    _by_api(routes, host)
    return routes


def page_of(host: Host, request: Request, problem: UsageError | NotFound | None = None) -> Response:
    """The page; another reader is sent to the form to log in."""
    status = 422 if problem else 200
    if not host.is_host(request):
        return RedirectResponse("/join#login", status_code=303)
    state = host.contest.state()
    response = show(
        host,
        request,
        "host",
        status,
        problem=problem,
        entries=host_rows(host.contest),
        people=removal.people(host.contest),
        unlisted=removal.unlisted(host.contest),
        removal=removal.consequence(host.contest.phase()),
        acts=host_actions(host.contest),
        health=health(host.contest),
        close_asked=bool(state.get("close_asked")),
        leaders=state.get("leaders") or [],
        folder=shlex.quote(str(host.contest.folder.resolve())),
    )
    response.headers["cache-control"] = "no-store"
    return response


def host_actions(contest: Contest) -> list[dict[str, Any]]:
    """Entries declared void or reinstated, and the close, latest first; ``entry_id``: None for the close."""
    words, state = {acts.VOID: "declared void", acts.UNVOID: "reinstated"}, contest.state()
    rows: list[dict[str, Any]] = [{**act, "what": words[act["what"]]} for act in acts.acts(contest)]
    if requested_at := state.get("close_asked"):
        at, early = datetime.fromisoformat(requested_at), state.get("early", "")
        what = "closed the contest before its time" if early else "closed the contest"
        rows.append({"at": at, "what": what, "because": early, "entry_id": None})
    return sorted(rows, key=lambda one: one["at"], reverse=True)


def _page(routes: APIRouter, host: Host) -> None:
    @routes.get("/host", include_in_schema=False)
    def page(request: Request) -> Response:
        return page_of(host, request)


def _buttons(routes: APIRouter, host: Host) -> None:
    contest = host.contest

    def void(form: Posted) -> object:
        return _acted(host, lambda: acts.void(contest, form.field("entry"), form.field("because")))

    def unvoid(form: Posted) -> object:
        return _acted(host, lambda: acts.unvoid(contest, form.field("entry"), form.field("because")))

    def close(form: Posted) -> None:
        contest.ask_close(form.field("because"))

    def forget(form: Posted) -> object:
        return removal.forget(contest, int(IN_A_FORM.validate_python(form.field("person"))))

    for name, done in (("close", close), ("void", void), ("unvoid", unvoid), ("forget", forget)):
        routes.add_api_route(f"/host/{name}", _button(host, done), methods=["POST"], include_in_schema=False)


def _button(host: Host, done: Done) -> Callable[..., Response]:
    given = Depends(host.posted)

    def pressed(request: Request, form: Posted = given) -> Response:
        if not host.is_host(request):
            raise HTTPException(403, detail={"message": "this request needs the host token", "hint": "log in at /host"})
        try:
            if form.field("sure") != "yes":
                raise UsageError("nothing was changed: the box was not ticked", hint="tick the box above the button")
            done(form)
        except (UsageError, NotFound) as problem:
            return page_of(host, request, problem)
        except ValueError:
            raise HTTPException(422, detail={"message": "no such person", "hint": "/host"}) from None
        return RedirectResponse("/host", status_code=303)

    return pressed


def _acted(host: Host, act: Callable[[], Act]) -> acts.ActRow:
    """Carry out an act, and record it in the ledger unless the queue's process will."""
    row = acts.row(act())
    acts.write_down(host.contest)
    return row


def _by_api(routes: APIRouter, host: Host) -> None:
    hosts = [Depends(host.admin)]

    @routes.get("/api/v1/acts", summary="Host actions: entries declared void or reinstated, with reasons")
    def every() -> dict[str, list[acts.ActRow]]:
        return {"rows": acts.acts(host.contest)}

    @routes.post("/api/v1/entries/{entry_id}/void", summary="Host only: declare an entry void", dependencies=hosts)
    def void(entry_id: EntryId, request_body: Because) -> acts.ActRow:
        return _acted(host, lambda: acts.void(host.contest, entry_id, request_body.because))

    @routes.post("/api/v1/entries/{entry_id}/unvoid", summary="Host only: reinstate a void entry", dependencies=hosts)
    def unvoid(entry_id: EntryId, request_body: Because) -> acts.ActRow:
        return _acted(host, lambda: acts.unvoid(host.contest, entry_id, request_body.because))

    @routes.get("/api/v1/health", summary="Host only: state of queue and workers", dependencies=hosts)
    def well() -> QueueHealth:
        return health(host.contest)
