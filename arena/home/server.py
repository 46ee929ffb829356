"""`metaloop home serve`: messages, task bundle, main and the page in this process, verification in one beside it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse

from arena.home.client import ProjectAbout
from arena.home.messages import MessageHost, main_block
from arena.home.pages import changes_of, page_routes
from arena.home.project import KEY, Project
from arena.home.results import ProjectState, state_of
from arena.home.signing import MOST_BODY, Signer
from arena.serving.headers import HeadAsGet, SafeHeaders, WellFormed
from arena.serving.intake import Intake
from arena.serving.limits import BodyLimit, Rate, client_of
from arena.serving.process import Keeper
from programs.errors import MetaloopError, NotFound

Say = Callable[[str], None]
MOST_CHECKS = 2  # of messages at a time
MOST_MESSAGE = MOST_BODY + (64 << 10)
OBJECT = re.compile(
    r"(HEAD|info/refs|objects/info/packs|objects/[0-9a-f]{2}/[0-9a-f]{38}|objects/pack/[a-z0-9.-]{1,80})"
)


def create_app(project: Project, rate: Rate | None = None) -> FastAPI:
    """Messages are limited per client address; what is only read is not."""
    app = FastAPI(title="Metaloop project", version="1", docs_url=None, redoc_url=None)
    host = MessageHost(project, Signer.at(project.folder / KEY))
    intake, rate = Intake(project.database), rate or Rate(120, 60.0)
    checking = asyncio.Semaphore(MOST_CHECKS)
    about = project.database.fact("project")

    @app.get("/api/v1/project")
    def described() -> ProjectAbout:
        with project.database.read() as connection:
            block = main_block(connection)
        return {
            "project": project.project_id,
            "key": host.signer.key,
            "title": str(about["title"]),
            "task": {"name": project.task.name, "digest": project.bundle.digest, "unit": project.task.unit},
            "block": block.number,
            "commit": block.commit,
            "budget": project.study.run_budget,
            "hardware": project.study.hardware_class,
        }

    @app.get("/api/v1/task/{digest}")
    def bundle(digest: str) -> Response:
        if digest != project.bundle.digest:
            return _problem(404, "no such task bundle")
        return Response(project.bundle.body, media_type="application/json")

    @app.post("/api/v1/messages")
    async def message(request: Request) -> Response:
        if not rate.allows(client_of(request)):
            return _problem(429, "too many messages", {"Retry-After": str(rate.wait)})
        raw = await request.body()
        try:
            async with checking:
                checked = await asyncio.to_thread(host.check, raw)
            reply = await asyncio.wrap_future(intake.take(partial(host.answer, raw=raw, checked=checked)))
        except MetaloopError as error:
            return _problem(404 if isinstance(error, NotFound) else 400, error.message, hint=error.hint or "")
        return Response(reply, media_type="application/json")

    @app.get("/main.git/{path:path}")
    def repository(path: str) -> Response:
        file = project.folder / "main.git" / path
        if not OBJECT.fullmatch(path) or not file.is_file():
            return PlainTextResponse("not found\n", 404)
        return Response(file.read_bytes(), media_type="application/octet-stream")

    @app.get("/api/v1/state")
    def state() -> ProjectState:
        return state_of(project)

    changes = changes_of(project)
    app.state.endings = [changes.end]
    app.include_router(page_routes(project, changes))
    app.add_middleware(BodyLimit, most=MOST_MESSAGE)
    app.add_middleware(WellFormed)
    app.add_middleware(SafeHeaders)
    app.add_middleware(HeadAsGet)
    return app


def _problem(status: int, message: str, headers: dict[str, str] | None = None, hint: str = "") -> JSONResponse:
    return JSONResponse({"error": {"message": message, "hint": hint}}, status, headers=headers)


def serve(
    folder: Path, host: str, port: int, say: Say, started: Callable[[str], None], proxies: str | None = None
) -> None:
    """Serve until Ctrl-C or SIGTERM. ``started`` is called with the URL. A kill loses no accepted message."""
    from arena.serving.process import address, terminated, trusted
    from arena.serving.wire import Server, configured, listen

    project = Project.open(folder)
    config = configured(create_app(project), trusted(proxies), say)
    listening = listen(host, port)
    with terminated(say), Keeper(project.folder, project.database, "arena.home.work", say):
        started(address(host, listening.getsockname()[1]))
        Server(config).run(sockets=[listening])
