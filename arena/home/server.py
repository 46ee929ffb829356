"""`metaloop home serve`: the API, task bundle, main and the pages in this process, verification in one beside it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

from fastapi import APIRouter, Depends, FastAPI, HTTPException, Request, Response
from sqlalchemy.orm import Session as Connection
from starlette.concurrency import run_in_threadpool

from arena.home import protocol
from arena.home.host import ProjectHost
from arena.home.pages import page_routes
from arena.home.project import Project
from arena.home.results import ProjectState, throttled_state
from arena.home.tables import RunLease, main_block
from arena.serving.headers import HeadAsGet, SafeHeaders, WellFormed
from arena.serving.intake import Intake, answer_faults
from arena.serving.limits import BodyLimit, Rate, client_of, customer_of
from arena.serving.problems import add_handlers
from arena.serving.process import Keeper
from arena.serving.tokens import bearer

Say = Callable[[str], None]
T = TypeVar("T")
MOST_CHECKS = 2  # of results at a time
MOST_PENDING, PENDING_SECONDS = 64, 10  # results that are checked or wait for it; when to send another one again
OBJECT = re.compile(
    r"(HEAD|info/refs|objects/info/packs|objects/[0-9a-f]{2}/[0-9a-f]{38}|objects/pack/[a-z0-9.-]{1,80})"
)


def create_app(project: Project, rate: Rate | None = None, joining: Rate | None = None) -> FastAPI:
    """What volunteers send is limited per client address, and new volunteers, ``joining``, per network; what anybody
    may read is not."""
    app = FastAPI(title="Metaloop project", version="1", docs_url=None, redoc_url=None)
    add_handlers(app)
    answer_faults(app)
    app.include_router(_volunteers(ProjectHost(project), rate or Rate(120, 60.0), joining or Rate(30, 3600.0)))
    shown = throttled_state(project)
    app.include_router(_reading(project, shown))
    app.include_router(page_routes(project, shown))
    app.add_middleware(BodyLimit, most=protocol.MOST_REQUEST)
    app.add_middleware(WellFormed)
    app.add_middleware(SafeHeaders)
    app.add_middleware(HeadAsGet)
    return app


def _volunteers(host: ProjectHost, rate: Rate, joining: Rate) -> APIRouter:
    intake, checking = Intake(host.project.database), asyncio.Semaphore(MOST_CHECKS)
    pending: dict[str, asyncio.Task[protocol.ResultAnswer]] = {}  # by lease

    def limited(request: Request) -> None:
        require(rate, client_of(request))

    def require(rate: Rate, client: str) -> None:
        if not rate.allows(client):
            raise HTTPException(429, "too many requests", {"Retry-After": str(rate.wait)})

    def sender(request: Request) -> int:
        return host.volunteer_of(bearer(request))

    def known(request: Request) -> int | None:
        return sender(request) if "authorization" in request.headers else None

    async def stored(store: Callable[[Connection], T]) -> T:
        return await asyncio.wrap_future(intake.take(store))

    routes = APIRouter(prefix="/api/v1", dependencies=[Depends(limited)])

    @routes.post("/volunteers")
    async def join(request: Request, volunteer: int | None = Depends(known)) -> protocol.Welcome:
        who = await _read(protocol.Introduction, request)
        if volunteer is None:
            require(joining, customer_of(request))
        return await stored(partial(host.join, volunteer_id=volunteer, who=who))

    @routes.post("/leases")
    async def lease(request: Request, volunteer: int = Depends(sender)) -> protocol.RunWork:
        asked = await _read(protocol.LeaseRequest, request)
        granted = await stored(partial(host.lease, volunteer_id=volunteer, asked=asked))
        return await run_in_threadpool(host.work, granted)

    async def handed_in(lease: RunLease, sent: protocol.RunResult) -> protocol.ResultAnswer:
        async with checking:
            checked = await asyncio.to_thread(host.check, lease, sent)
        whose, name = lease.volunteer_id, lease.lease_id
        return await stored(partial(host.take, volunteer_id=whose, lease_id=name, result=sent, checked=checked))

    @routes.post("/leases/{lease}/result")
    async def result(lease: str, request: Request) -> protocol.ResultAnswer:
        own = await run_in_threadpool(host.own_lease, bearer(request), lease)
        sent = await _read(protocol.RunResult, request)
        if lease not in pending:  # else it gets the answer to the first one
            if len(pending) >= MOST_PENDING:
                raise HTTPException(503, "too many results at once", {"Retry-After": str(PENDING_SECONDS)})
            pending[lease] = asyncio.create_task(handed_in(own, sent))
            pending[lease].add_done_callback(lambda _: pending.pop(lease))
        return await asyncio.shield(pending[lease])

    return routes


async def _read(kind: type[protocol.S], request: Request) -> protocol.S:
    """The body of a request, whose size was limited before. It is parsed in a thread, because some texts take long."""
    return await run_in_threadpool(protocol.parsed, kind, await request.body())


def _reading(project: Project, shown: Callable[[], ProjectState]) -> APIRouter:
    routes, title = APIRouter(), str(project.database.fact("project")["title"])

    @routes.get("/api/v1/project")
    def about() -> protocol.ProjectAbout:
        with project.database.read() as connection:
            block = main_block(connection)
        return protocol.ProjectAbout(
            project=project.project_id,
            title=title,
            task=protocol.TaskAbout(name=project.task.name, digest=project.bundle.digest, unit=project.task.unit),
            block=block.number,
            commit=block.commit,
            budget=project.study.run_budget,
            hardware=project.study.hardware_class,
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
        return shown()

    return routes


def serve(
    folder: Path, host: str, port: int, say: Say, started: Callable[[str], None], proxies: str | None = None
) -> None:
    """Serve until Ctrl-C or SIGTERM. ``started`` is called with the URL. A kill loses no accepted result."""
    from arena.serving.process import address, terminated, trusted
    from arena.serving.wire import Server, configured, listen

    project = Project.open(folder)
    config = configured(create_app(project), trusted(proxies))
    listening = listen(host, port)
    with terminated(say), Keeper(project.folder, project.database, "arena.home.work", say):
        started(address(host, listening.getsockname()[1]))
        Server(config).run(sockets=[listening])
