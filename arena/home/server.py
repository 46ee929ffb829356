"""`metaloop home serve`: API, task bundle, main and the page in this process, verification in one beside it."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Depends, FastAPI, HTTPException, Request, Response
from fastapi.responses import HTMLResponse
from starlette.concurrency import run_in_threadpool

from analysis import wording
from arena.home import protocol
from arena.home.host import ProjectHost
from arena.home.project import Project
from arena.home.state import ProjectState, axes_of, state_of
from arena.serving.client import is_private
from arena.serving.headers import HeadAsGet, SafeHeaders, WellFormed
from arena.serving.intake import answer_faults
from arena.serving.limits import BodyLimit, Rate, client_of, customer_of
from arena.serving.problems import add_handlers
from arena.serving.process import Keeper, Say, address, terminated, trusted
from arena.serving.static_files import static_routes
from arena.serving.throttled_cache import ThrottledCache
from arena.serving.tokens import bearer
from arena.serving.wire import Server, configured, listen
from programs.common.templates import jinja_environment
from programs.common.text import cell

if TYPE_CHECKING:
    from jinja2 import Environment

MOST_CHECKS = 2  # proposals that are checked at a time
MOST_PENDING, PENDING_SECONDS = 64, 10  # that are checked or wait for it; when to send another one again
OBJECT = re.compile(
    r"(HEAD|info/refs|objects/info/packs|objects/[0-9a-f]{2}/[0-9a-f]{38}|objects/pack/[a-z0-9.-]{1,80})"
)


def create_app(project: Project, rate: Rate | None = None, joining: Rate | None = None) -> FastAPI:
    """What volunteers send is limited per client address, and new volunteers, ``joining``, per network; what anybody
    may read is not."""
    app = FastAPI(title="Metaloop project", version="1", docs_url=None, redoc_url=None)
    add_handlers(app)
    answer_faults(app)
    app.include_router(volunteer_routes(ProjectHost(project), rate or Rate(120, 60.0), joining or Rate(30, 3600.0)))
    app.include_router(reading_routes(project))
    app.add_middleware(BodyLimit, most=protocol.MOST_REQUEST)
    app.add_middleware(WellFormed)
    app.add_middleware(SafeHeaders)
    app.add_middleware(HeadAsGet)
    return app


def volunteer_routes(host: ProjectHost, rate: Rate, joining: Rate) -> APIRouter:
    """What volunteers send."""
    checking, pending = asyncio.Semaphore(MOST_CHECKS), list[int]()

    def require(rate: Rate, client: str) -> None:
        if not rate.allows(client):
            raise HTTPException(429, "too many requests", {"Retry-After": str(rate.wait)})

    def limited(request: Request) -> None:
        require(rate, client_of(request))

    routes = APIRouter(prefix="/api/v1", dependencies=[Depends(limited)])

    @routes.post("/volunteers")
    async def join(request: Request) -> protocol.Welcome:
        token = "authorization" in request.headers
        volunteer = await run_in_threadpool(host.volunteer_of, bearer(request)) if token else None
        introduction = protocol.parsed(protocol.Introduction, await request.body())
        if volunteer is None:
            require(joining, customer_of(request))
        return await run_in_threadpool(host.join, volunteer, introduction)

    @routes.post("/proposals")
    async def propose(request: Request) -> protocol.ProposalAnswer:
        volunteer = await run_in_threadpool(host.volunteer_of, bearer(request))
        proposal = protocol.parsed(protocol.Proposal, await request.body())
        if len(pending) >= MOST_PENDING:
            raise HTTPException(503, "too many proposals at once", {"Retry-After": str(PENDING_SECONDS)})
        pending.append(volunteer)
        try:
            async with checking:
                return await run_in_threadpool(host.propose, volunteer, proposal)
        finally:
            pending.remove(volunteer)

    return routes


def reading_routes(project: Project) -> APIRouter:
    """The routes that need no token. The page, llms.txt and the API share one state for a while."""
    routes, cached = APIRouter(), ThrottledCache[ProjectState]()

    def state_now() -> ProjectState:
        return cached.get(time.monotonic(), lambda: state_of(project))

    @routes.get("/api/v1/project")
    def about() -> protocol.ProjectAbout:
        block, task = project.chain.blocks()[-1], project.task
        return protocol.ProjectAbout(
            project=project.project_id,
            title=project.title,
            task=protocol.TaskAbout(name=task.name, digest=project.bundle.digest, unit=task.unit),
            block=block.number,
            commit=block.commit,
            files=project.chain.files(block.commit),
            budget=project.study.run_budget,
        )

    @routes.get("/api/v1/task/{digest}")
    def bundle(digest: str) -> Response:
        if digest != project.bundle.digest:
            raise HTTPException(404, "no such task bundle")
        return Response(project.bundle.body, media_type="application/json")

    @routes.get("/main.git/{path:path}")
    def repository(path: str) -> Response:
        file = project.folder / "main.git" / path
        if not OBJECT.fullmatch(path) or not file.is_file():
            raise HTTPException(404, "not found")
        return Response(file.read_bytes(), media_type="application/octet-stream")

    @routes.get("/api/v1/state")
    def state() -> ProjectState:
        return state_now()

    @routes.get("/", include_in_schema=False)
    def page(request: Request) -> Response:
        return HTMLResponse(rendered("page.html.j2", request, project, state_now()))

    @routes.get("/llms.txt", include_in_schema=False)
    def llms(request: Request) -> Response:
        text = rendered("llms.txt.j2", request, project, state_now())
        return Response(text, media_type="text/markdown; charset=utf-8")

    static_routes(routes)
    return routes


def rendered(template: str, request: Request, project: Project, state: ProjectState) -> str:
    """A page with a project's state. What strangers wrote is escaped everywhere."""
    base = str(request.base_url).rstrip("/")
    x, y = axes_of(state)
    values: dict[str, Any] = {"state": state, "task": project.task, "base": base, "is_joinable": is_private(base)}
    return page_templates().get_template(template).render(x=x, y=y, **values)


@cache
def page_templates() -> Environment:
    folder = Path(__file__).parent / "templates"
    templates = jinja_environment(folder, escaped=lambda name: bool(name) and not str(name).endswith(".txt.j2"))
    templates.filters |= {
        "number": wording.number,
        "span": wording.span,
        "duration": wording.duration,
        "many": wording.many,
        "cell": cell,
        "when": lambda moment: moment[:16].replace("T", " "),
    }
    return templates


def serve(
    folder: Path, host: str, port: int, say: Say, started: Callable[[str], None], proxies: str | None = None
) -> None:
    """Serve until Ctrl-C or SIGTERM. ``started`` is called with the URL. A kill loses no accepted proposal."""
    project = Project.open(folder)
    config = configured(create_app(project), trusted(proxies))
    listening = listen(host, port)
    with terminated(say), Keeper(project.folder, project.database, "arena.home.verifying", say):
        started(address(host, listening.getsockname()[1]))
        Server(config).run(sockets=[listening])
