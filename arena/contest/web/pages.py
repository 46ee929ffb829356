"""The pages, as HTML; agents read the API and `/llms.txt`."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.responses import PlainTextResponse

from arena.contest.ranking import views
from arena.contest.ranking.standing import RowRange
from arena.contest.settings import REPORT, RULES
from arena.contest.web.card import winners_card
from arena.contest.web.host import Host
from arena.contest.web.render import page
from arena.contest.web.security import HOSTING, SESSION, VISITOR, form_token, remember, visitor_of
from arena.serving.headers import CARD_POLICY, POLICY, REPORT_POLICY, tagged
from arena.serving.limits import PageNumber
from arena.serving.static_files import static_routes
from arena.serving.throttled_cache import ThrottledCache
from arena.serving.tokens import bearer
from programs.common.errors import NotFound

MARKDOWN = "text/markdown; charset=utf-8"
MOST_SHARED = 200  # pages that are the same for all readers


def page_routes(host: Host) -> APIRouter:
    """Everything that a browser reads."""
    routes = APIRouter(include_in_schema=False)
    static_routes(routes)

    @routes.get("/")
    def board(request: Request, page: PageNumber = 1, rest: PageNumber = 1) -> Response:
        def draw(request: Request) -> Response:
            part, others = RowRange.page(page, views.PAGE), RowRange.page(rest, views.REST)
            seen = views.board_view(host.contest, part, host.viewer(request), others)
            return show(host, request, "board", board=seen, part_of_board=part, rest=others)

        return shared(host, request, draw, page, rest)

    @routes.get("/card.svg")
    def card() -> Response:
        drawn = winners_card(host.contest)
        if drawn is None:
            raise HTTPException(404, detail={"message": "no entry has won", "hint": "the card shows the winner"})
        return Response(drawn, media_type="image/svg+xml", headers={POLICY: CARD_POLICY})

    @routes.get("/queue")
    def queue(request: Request, page: PageNumber = 1) -> Response:
        def draw(request: Request) -> Response:
            part = RowRange.page(page, views.PAGE)
            seen = views.queue_view(host.contest, part, host.viewer(request))
            return show(host, request, "queue", queue=seen, part_of_queue=part)

        return shared(host, request, draw, page)

    @routes.get("/rules")
    def rules(request: Request) -> Response:
        file = host.contest.folder / RULES
        return shared(host, request, lambda one: show(host, one, "rules", text=file.read_text(encoding="utf-8")))

    @routes.get("/rules.md")
    def rules_file() -> Response:
        """The bytes whose hash is published."""
        return Response((host.contest.folder / RULES).read_bytes(), media_type=MARKDOWN)

    @routes.get("/report")
    def report() -> Response:
        """The analysis of the folder, as `metaloop report` writes it."""
        file = host.contest.folder / REPORT
        if not file.is_file():
            raise NotFound("there is no report yet", hint="it is published with the decision")
        return Response(file.read_bytes(), media_type="text/html", headers={POLICY: REPORT_POLICY})

    @routes.get("/llms.txt")
    def llms(request: Request) -> Response:
        base = str(request.base_url).rstrip("/")
        text = page("llms.txt.j2", contest=views.contest_view(host.contest), base=base)
        return PlainTextResponse(text)

    return routes


def show(host: Host, request: Request, name: str, status: int = 200, **values: Any) -> Response:
    """The page of a template; forms in it carry their proof."""
    visitor = visitor_of(request)
    proof = form_token(host.key, visitor, request.cookies.get(SESSION, ""))
    html = page(
        f"{name}.html.j2",
        contest=views.contest_view(host.contest),
        base=str(request.base_url).rstrip("/"),
        viewer=host.viewer(request),
        hosting=host.is_host(request),
        proof=proof,
        live=request.method == "GET",  # live.js would replace the answer to a form with the page at its address
        part=wants_part(request),
        **values,
    )
    response = tagged(request, html.encode(), status)
    if request.cookies.get(VISITOR) != visitor:
        remember(response, request, VISITOR, visitor)
    return response


def wants_part(request: Request) -> bool:
    """Whether live.js asks, which needs header and main part alone."""
    return "part=live" in request.headers.get("accept", "")


@lru_cache(maxsize=MOST_SHARED)
def page_cache(_folder: Path, _page: str, _part: bool, _numbers: tuple[int, ...]) -> ThrottledCache[bytes]:
    return ThrottledCache()


def shared(host: Host, request: Request, draw: Callable[[Request], Response], *numbers: int) -> Response:
    """The page that ``draw`` makes of these page numbers; readers without session and token get one that is made for
    all of them, at most once a second: also where the first of them has it already."""
    if bearer(request) or {SESSION, HOSTING} & request.cookies.keys():
        return draw(request)
    whole = Request(
        {**request.scope, "headers": [each for each in request.scope["headers"] if each[0] != b"if-none-match"]}
    )
    cache = page_cache(host.contest.folder, f"{request.base_url}{request.url.path}", wants_part(request), numbers)
    return tagged(request, cache.get(int(time.monotonic()), lambda: bytes(draw(whole).body)))
