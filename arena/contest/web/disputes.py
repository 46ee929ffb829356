"""Disputes: the form and the API to raise them, and the lists."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.responses import RedirectResponse
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool

from arena.contest import disputes
from arena.contest.tables import Dispute, Person
from arena.contest.views import plain
from arena.contest.web.entry import EntrySelection, entry_or_404, entry_page
from arena.contest.web.forms import field, posted
from arena.contest.web.host import Host
from arena.contest.web.limits import EntryId
from programs.errors import UsageError


class Raised(BaseModel):
    """The objection to the entry; public."""

    reason: str = Field(max_length=4 * disputes.MOST_REASON)


def dispute_routes(host: Host) -> APIRouter:
    routes = APIRouter()
    _by_form(routes, host)
    _by_api(routes, host)
    return routes


def _raise(host: Host, request: Request, entry_id: str, person: Person, reason: str) -> Dispute:
    host.limited(host.limits.dispute, request, f"person {person.person_id}")
    return disputes.raise_dispute(host.contest, entry_or_404(host, entry_id).number, person, reason)


def _by_form(routes: APIRouter, host: Host) -> None:
    @routes.post("/entry/{entry_id}/dispute", include_in_schema=False)
    async def dispute(entry_id: EntryId, request: Request) -> Response:
        form = await posted(host, request)
        person = await run_in_threadpool(host.viewer, request)
        if person is None:
            return RedirectResponse("/join", status_code=303)
        reason = field(form, "reason")
        try:
            made = await run_in_threadpool(_raise, host, request, entry_id, person, reason)
        except UsageError as problem:
            return await run_in_threadpool(entry_page, host, request, entry_id, EntrySelection(), problem, reason)
        return RedirectResponse(f"/entry/{entry_id}#dispute-{made.dispute_id}", status_code=303)


def _by_api(routes: APIRouter, host: Host) -> None:
    @routes.get("/api/v1/disputes", summary="Disputes of the contest: open ones first, with the host's answers")
    def every() -> Any:
        return plain({"rows": disputes.disputes(host.contest)})

    @routes.get("/api/v1/entries/{entry_id}/disputes", summary="The disputes about an entry")
    def of_entry(entry_id: EntryId) -> Any:
        return plain({"rows": disputes.disputes_of(host.contest, entry_or_404(host, entry_id).number)})

    @routes.post("/api/v1/entries/{entry_id}/disputes", status_code=201, summary="Raise a dispute about an entry")
    def raised(entry_id: EntryId, request_body: Raised, request: Request) -> Any:
        person = host.person(request)
        try:
            return plain(_raise(host, request, entry_id, person, request_body.reason).row())
        except UsageError as problem:
            raise HTTPException(
                422, detail={"kind": problem.kind, "message": problem.message, "hint": problem.hint}
            ) from None
