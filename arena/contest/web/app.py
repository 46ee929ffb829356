"""The web application of a contest: API, pages, forms, middleware and pages of errors."""

from __future__ import annotations

from fastapi import FastAPI, Request, Response

from arena.contest.client import API
from arena.contest.contest import Contest
from arena.contest.entering.accounts import AccessRefused
from arena.contest.entering.entries import NotOpen, QuotaSpent
from arena.contest.web.api import api_routes
from arena.contest.web.entry import entry_routes
from arena.contest.web.forms import form_routes
from arena.contest.web.host import Host, RateLimits
from arena.contest.web.hosting import hosting_routes
from arena.contest.web.pages import page_routes, show
from arena.contest.web.security import ApiVersion
from arena.contest.web.write import write_routes
from arena.serving.headers import HeadAsGet, SafeHeaders, WellFormed
from arena.serving.intake import answer_faults
from arena.serving.limits import TOO_LARGE, BodyLimit
from arena.serving.problems import add_handlers

STATUSES = {AccessRefused: 403, QuotaSpent: 403, NotOpen: 409}


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

    def problem(request: Request, status: int, message: str, hint: str) -> Response:
        return show(host, request, "problem", status, problem={"message": message, "hint": hint}, missing=status == 404)

    answer_faults(app)
    add_handlers(app, problem, STATUSES)
    app.add_middleware(BodyLimit, too_large=TOO_LARGE)
    app.add_middleware(ApiVersion)
    app.add_middleware(WellFormed)
    app.add_middleware(SafeHeaders)
    app.add_middleware(HeadAsGet)
    return app
