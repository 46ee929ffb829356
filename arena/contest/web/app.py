"""The web application of a contest: API, pages, forms, middleware and error handlers."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from sqlalchemy.exc import OperationalError
from starlette.exceptions import HTTPException as HttpProblem

from analysis.ledger.json_values import first_fault
from arena.contest.client import API
from arena.contest.contest import Contest
from arena.contest.entering.accounts import AccessRefused
from arena.contest.entering.entries import NotOpen, NotTaken, QuotaSpent
from arena.contest.web.api import api_routes
from arena.contest.web.cached import Shared
from arena.contest.web.entry import entry_routes
from arena.contest.web.forms import form_routes
from arena.contest.web.host import Host, RateLimits
from arena.contest.web.hosting import hosting_routes
from arena.contest.web.pages import page_routes, show
from arena.contest.web.security import ApiVersion
from arena.contest.web.write import write_routes
from arena.serving.headers import HeadAsGet, SafeHeaders, WellFormed
from arena.serving.limits import TOO_LARGE, BodyLimit
from arena.serving.tokens import bearer
from programs.errors import NotFound, UsageError
from programs.text import one_line

NO_PAGE = "Not Found"  # what the framework says
#: Of our own errors, the first that fits.
STATUS = {NotFound: 404, AccessRefused: 403, QuotaSpent: 403, NotOpen: 409, UsageError: 422}


def create_app(contest: Contest, limits: RateLimits | None = None) -> FastAPI:
    """Without FastAPI's documentation pages, which load scripts from other servers; /openapi.json is served."""
    host = Host.of(contest, limits or RateLimits())
    app = FastAPI(
        title=f"Metaloop contest: {contest.config.title}",
        version=str(API),
        docs_url=None,
        redoc_url=None,
        description="Submit a program.md, follow it, read the board. Send tokens in the Authorization header.",
    )
    app.include_router(api_routes(host))
    app.include_router(form_routes(host))
    app.include_router(hosting_routes(host))
    app.include_router(page_routes(host))
    app.include_router(write_routes(host))
    app.include_router(entry_routes(host))
    app.add_middleware(BodyLimit, said=_errors(app, host), too_large=TOO_LARGE)
    app.add_middleware(ApiVersion)
    app.add_middleware(WellFormed)
    app.add_middleware(SafeHeaders)
    app.add_middleware(Shared)  # cached responses have passed through the others
    app.add_middleware(HeadAsGet)  # outermost: the cache knows GET alone
    app.state.endings = [host.changes.end]
    return app


def _errors(app: FastAPI, host: Host) -> Callable[[Request, HttpProblem], Response]:
    """Adds the handlers of errors; returns the one of HTTP errors."""

    @app.exception_handler(HttpProblem)
    def http_problem(request: Request, problem: HttpProblem) -> Response:
        detail: Any = problem.detail
        said = detail if isinstance(detail, dict) else {"message": str(detail), "hint": ""}
        page = "text/html" in request.headers.get("accept", "") and not bearer(request)  # no browser sends a token
        if request.url.path.startswith("/api/") or not page:
            return JSONResponse({"error": said}, problem.status_code, headers=problem.headers)
        plain = {"message": str(said.get("message")), "hint": str(said.get("hint", ""))}
        if detail == NO_PAGE:
            plain["message"] = f"There is no page at the address {request.url.path[:80]}"
        response = show(
            host, request, "problem", problem.status_code, problem=plain, missing=problem.status_code == 404
        )
        response.headers.update(problem.headers or {})
        return response

    @app.exception_handler(UsageError)
    @app.exception_handler(NotFound)
    def refused(request: Request, problem: UsageError | NotFound) -> Response:
        status = next(status for kind, status in STATUS.items() if isinstance(problem, kind))
        said = {"kind": problem.kind, "message": problem.message, "hint": problem.hint}
        lint = {"lint": [one.record() for one in problem.lint]} if isinstance(problem, NotTaken) else {}
        return http_problem(request, HTTPException(status, detail=said | lint))

    @app.exception_handler(OperationalError)
    def unwell(request: Request, problem: OperationalError) -> Response:
        """The disk is full, the folder is gone or a writer is stuck: nothing of the request was stored."""
        print(f"{request.method} {request.url.path}: {one_line(str(problem.orig))}", file=sys.stderr, flush=True)
        full = "full" in str(problem.orig)
        said = "the host's disk is full" if full else "the host cannot reach its database"
        body = {"error": {"message": f"{said}; nothing was stored", "hint": "try again later"}}
        return JSONResponse(body, 507 if full else 503, headers={"Retry-After": "30"})

    @app.exception_handler(RequestValidationError)
    def invalid(request: Request, problem: RequestValidationError) -> Response:
        return http_problem(
            request, HTTPException(422, detail={"message": first_fault(problem), "hint": "/openapi.json"})
        )

    return http_problem
