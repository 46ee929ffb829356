"""The pages of `metaloop ui`. Read-only; they answer only to the browser that opened the address with the token."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import AsyncIterator, Callable, Mapping
from functools import cache
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import jinja2
from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse, StreamingResponse
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

import analysis
from analysis import wording
from analysis.report.axis import Axis
from analysis.report.page import report as html_report
from analysis.study import read_study
from analysis.table_cells import usd
from arena import serving
from arena.serving.headers import HEADERS, same_site
from arena.serving.problems import add_handlers
from meta.ui import records
from meta.ui.studies import FollowedImport, FollowedStudy, Studies
from programs.common.errors import MetaloopError, NotFound
from programs.common.templates import jinja_environment
from trainer.trust import gain_name

HERE, CONTEST = Path(__file__).parent, Path(serving.__file__).parent
REPORT = Path(analysis.__file__).parent / "templates" / "report"
COOKIE = "metaloop_window"
LOOK_SECONDS, SILENCE_SECONDS = 0.25, 15.0
STATIC = {"window.js": "text/javascript", "icon.svg": "image/svg+xml"}


class Guard:
    """Refuses requests for another host's name (a page elsewhere that resolves to this machine) and those without the
    token; adds the headers that keep everything of other servers out."""

    def __init__(self, app: ASGIApp, token: str, port: int) -> None:
        self.app, self.token = app, token
        self.hosts = {f"{name}:{port}" for name in ("127.0.0.1", "localhost", "[::1]")}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("cache-control", "no-store")
            await send(message)

        request = Request(scope)
        refusal = self._refusal(request)
        await (refusal or self.app)(scope, receive, marked)

    def _refusal(self, request: Request) -> Response | None:
        if request.headers.get("host") not in self.hosts:
            return Response("another host's name\n", 403, media_type="text/plain")
        brought, known = request.query_params.get("token"), request.cookies.get(COOKIE, "")
        if brought is not None and hmac.compare_digest(brought.encode(), self.token.encode()):
            others = [pair for pair in request.query_params.multi_items() if pair[0] != "token"]
            path = quote("/" + request.url.path.lstrip("/\\"))  # two slashes would begin the name of a host
            target = link(path, **dict(others)) if others else path
            leaves = {"refresh": f"0; url={target}"}  # not a redirect, which would be of the link's site
            opened = HTMLResponse('<link rel="icon" href="/static/icon.svg">', headers=leaves)
            opened.set_cookie(COOKIE, self.token, httponly=True, samesite="strict")
            return opened
        if not same_site(request):  # the cookie is sent from every port of this machine
            return Response("asked for by another site's page\n", 403, media_type="text/plain")
        if not hmac.compare_digest(known.encode(), self.token.encode()):
            return Response(
                "open the address that metaloop ui printed: it has the token\n", 403, media_type="text/plain"
            )
        if request.method not in ("GET", "HEAD"):
            return Response("this window only reads\n", 405, media_type="text/plain")
        return None


def create_app(studies: Studies, token: str, port: int, ending: Callable[[], bool] = lambda: False) -> FastAPI:
    """``ending``: whether the server is to stop, which open streams of events would hold up."""
    app = FastAPI(title="Metaloop", docs_url=None, redoc_url=None, openapi_url=None)
    app.include_router(live_pages(studies))
    app.include_router(record_pages(studies))

    @app.get("/events")
    async def events(at: str = "") -> StreamingResponse:
        followed = studies.get(at) if at else studies
        return StreamingResponse(changes(followed, ending), media_type="text/event-stream")

    @app.get("/static/{name}")
    def static(name: str) -> Response:
        if name == "style.css":
            return Response(style(), media_type="text/css")
        if name not in STATIC:
            raise NotFound("there is no such file", hint="/")
        folder = HERE if (HERE / "static" / name).is_file() else CONTEST
        return Response((folder / "static" / name).read_bytes(), media_type=STATIC[name])

    def problem(_: Request, status: int, message: str, hint: str) -> Response:
        return page("problem", {"message": message, "hint": hint}, status)

    add_handlers(app, problem, {MetaloopError: 400})  # its one reader may know each fault
    app.add_middleware(Guard, token=token, port=port)
    return app


def live_pages(studies: Studies) -> APIRouter:
    """Pages from what was read of the ledgers: these never wait."""
    routes = APIRouter()

    @routes.get("/")
    def first() -> Response:
        rows = [(followed, *followed.item()) for followed in studies.newest_first()]
        return page("studies", {"studies": studies, "rows": rows})

    @routes.get("/study")
    def study(at: str, match: str = "") -> Response:
        followed = studies.get(at)
        if isinstance(followed, FollowedImport):
            return RedirectResponse(link("/report", at=at), 303)
        with followed.lock:
            return study_page(followed, match)

    return routes


def record_pages(studies: Studies) -> APIRouter:
    """Pages from the views of a study."""
    routes = APIRouter()

    @routes.get("/run")
    def run(at: str, id: str, start: int = 0) -> Response:
        study = studies.get(at)
        values = records.run_page(study.folder, id, max(0, start))
        return page("run", {"one": study, "step": records.MOST_EXPERIMENTS, **values})

    @routes.get("/program")
    def program(at: str, id: str) -> Response:
        study = studies.get(at)
        return page("program", {"one": study, **records.program_page(study.folder, id)})

    @routes.get("/report")
    def report(at: str) -> Response:
        study = studies.get(at)
        with read_study(study.folder) as con:
            text = html_report(con, study.name)
        is_import = isinstance(study, FollowedImport)
        to, name = ("/", "All studies") if is_import else (link("/study", at=study.name), "Back to the study")
        back = f'<p class="kicker"><a href="{escape(to)}">{name}</a></p>'
        text = text.replace("<header>", f"<header>\n{back}", 1)
        return HTMLResponse(text, headers={"content-security-policy": "frame-ancestors 'none'"})  # it has its own

    return routes


async def changes(followed: Studies | FollowedStudy, ending: Callable[[], bool]) -> AsyncIterator[str]:
    """An event with the version at first, and whenever it has changed, until the server stops."""
    sent, silent = -1, 0.0
    yield "retry: 2000\n\n"
    while not ending():
        if followed.version != sent:
            sent, silent = followed.version, 0.0
            yield f"event: change\ndata: {sent}\n\n"
        elif silent >= SILENCE_SECONDS:
            silent = 0.0
            yield ": still here\n\n"
        await asyncio.sleep(LOOK_SECONDS)
        silent += LOOK_SECONDS


def study_page(followed: FollowedStudy, match_id: str = "") -> Response:
    """Raises Corrupt or OtherVersion."""
    status, pictures = followed.item()
    if status is None:
        raise followed.problem or NotFound(f"there is no study {followed.name!r} here")
    values = {"one": followed, "status": status, "pictures": pictures, **followed.page(match_id)}
    return page("study", values)


def page(name: str, values: Mapping[str, Any], status: int = 200) -> Response:
    return HTMLResponse(templates().get_template(f"{name}.html.j2").render(values), status)


@cache
def templates() -> jinja2.Environment:
    environment = jinja_environment(HERE / "templates", REPORT, escaped=True, shown=wording.clean)
    names = ("number", "brief", "duration", "many", "minus", "share", "span")
    environment.filters |= {name: getattr(wording, name) for name in names}
    environment.filters |= {"gain_name": gain_name, "usd": usd}
    environment.globals |= {"link": link, "axis": Axis.over}
    return environment


def link(path: str, **values: object) -> str:
    return f"{path}?{urlencode({name: value for name, value in values.items() if value not in ('', None)})}"


@cache
def style() -> str:
    """The report's style, that of the contest's pages, and what only these pages need."""
    files = (REPORT / "style.css", CONTEST / "static" / "contest.css", HERE / "static" / "window.css")
    return "\n".join(path.read_text("utf-8") for path in files)
