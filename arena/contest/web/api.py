"""The API: JSON in and out under /api/v1, a program as the plain body of a POST."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool

from arena.contest.entering import accounts
from arena.contest.ranking.standing import RowRange, snapshot
from arena.contest.ranking.views import (
    PAGE,
    AcceptedRow,
    BoardView,
    ContestView,
    EntryView,
    PersonView,
    QueueView,
    board_view,
    contest_view,
    entry_of,
    entry_row,
    entry_view,
    person_view,
    queue_view,
)
from arena.contest.web.host import Host, body, weight_of
from arena.serving.limits import EntryId, Limit, Offset, customer_of

CSV_ROWS = 200  # rows per chunk


class Join(BaseModel):
    """The entrant's name; ``code``: the join code where the contest requires one."""

    name: str = Field(max_length=200)
    code: str = Field(default="", max_length=200)


class Close(BaseModel):
    """Why the host closes before the time in the rules; public."""

    reason: str = Field(min_length=3, max_length=500)


def api_routes(host: Host) -> APIRouter:
    """The routes of the API, as OpenAPI describes them at /openapi.json."""
    routes = APIRouter(prefix="/api/v1")
    _reading(routes, host)
    _entering(routes, host)
    _hosting(routes, host)
    return routes


def _reading(routes: APIRouter, host: Host) -> None:
    @routes.get("/contest", summary="The contest: task, budgets, times, phase")
    def contest() -> ContestView:
        return contest_view(host.contest)

    @routes.get("/board", summary="The leaderboard: verified gains with 95% intervals and rank ranges")
    def board(request: Request, limit: Limit = PAGE, offset: Offset = 0) -> BoardView:
        return board_view(host.contest, RowRange(offset, limit), host.viewer(request))

    @routes.get("/board.csv", summary="The whole leaderboard as CSV", response_class=Response)
    def board_csv() -> Response:
        return StreamingResponse(csv_parts(snapshot(host.contest).rows), media_type="text/csv; charset=utf-8")

    @routes.get("/queue", summary="Waiting entries, in order, with expected times")
    def queue(request: Request, limit: Limit = PAGE, offset: Offset = 0) -> QueueView:
        return queue_view(host.contest, RowRange(offset, limit), host.viewer(request))

    @routes.get("/entries/{entry_id}", summary="An entry, with its text unless it is hidden until the close")
    def entry(entry_id: EntryId, request: Request) -> EntryView:
        match = entry_of(host.contest, entry_id)
        return entry_view(host.contest, match, host.viewer(request), host.is_admin(request))


def _entering(routes: APIRouter, host: Host) -> None:
    @routes.post("/join", status_code=201, summary="Join: send a name, receive a token, which is shown only once")
    def join(request_body: Join, request: Request) -> Any:
        host.limited(host.limits.join, request, customer_of(request))
        person, token = accounts.join(host.contest.database, host.contest.config, request_body.name, request_body.code)
        return {"name": person.name, "token": token}

    @routes.get("/me", summary="Your quota and your entries")
    def me(request: Request) -> PersonView:
        return person_view(host.contest, host.person(request))

    @routes.post("/entries", status_code=201, summary="Submit: the body is the program.md; 201 means that it is stored")
    async def enter(request: Request, response: Response, raw: bytes = Depends(body)) -> AcceptedRow:
        person = await run_in_threadpool(host.person, request)
        host.limited(host.limits.entry, request, f"person {person.person_id}", weight_of(raw))
        accepted = await host.accept(person, raw)
        response.status_code = 201 if accepted.new else 200
        return {**entry_row(snapshot(host.contest), accepted.entry), "new": accepted.new, "lint": accepted.entry.lint}


def _hosting(routes: APIRouter, host: Host) -> None:
    @routes.post(
        "/close",
        summary="Host only: accept no more entries, finish the queue, decide",
        dependencies=[Depends(host.admin)],
    )
    def close(request_body: Close) -> Any:
        if not host.contest.state().get("close_asked"):  # a request sent again changes nothing
            host.contest.ask_close(request_body.reason)
        return {"phase": host.contest.phase()}


def csv_parts(rows: Iterable[Mapping[str, object]]) -> Iterator[str]:
    """Rows as CSV, in chunks; a cell that a spreadsheet would read as a formula is quoted with an apostrophe."""
    out = io.StringIO()
    writer: csv.DictWriter[str] | None = None
    for number, row in enumerate(rows):
        if writer is None:
            writer = csv.DictWriter(out, fieldnames=list(row), extrasaction="ignore")
            writer.writeheader()
        writer.writerow({key: _cell(value) for key, value in row.items()})
        if number % CSV_ROWS == 0:
            yield out.getvalue()
            out.seek(0)
            out.truncate()
    yield out.getvalue()


def _cell(value: Any) -> Any:
    """Separators of other locales also begin a cell, and full-width signs also begin a formula."""
    return re.sub(r"(^|[,;|\s])(?=[=+\-@＝＋－＠])", r"\1'", value) if isinstance(value, str) else value
