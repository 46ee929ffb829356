"""The errors of every server: a page for a browser, else a JSON object with a message and a hint, each on one line."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException as HttpProblem
from starlette.requests import ClientDisconnect

from analysis.ledger.json_values import first_fault
from arena.serving.tokens import bearer
from programs.common.errors import Busy, CredentialMissing, MetaloopError, NotFound, UsageError
from programs.common.text import one_line

#: Of our own errors. Any other is a fault of the server, whose message is for its log alone.
STATUS: dict[type[MetaloopError], int] = {NotFound: 404, CredentialMissing: 401, Busy: 503, UsageError: 422}
WAIT = {"Retry-After": "30"}
NO_PAGE = "Not Found"  # what the framework says
Page = Callable[[Request, int, str, str], Response]


def problem(status: int, message: str, hint: str = "", headers: Mapping[str, str] | None = None) -> JSONResponse:
    body = {"message": one_line(message), "hint": one_line(hint)}
    return JSONResponse({"error": body}, status, headers=headers)


def add_handlers(
    app: FastAPI, page: Page | None = None, statuses: Mapping[type[MetaloopError], int] | None = None
) -> None:
    """Answer every error of the application.

    ``page`` makes the page of a status, message and hint. ``statuses``: of the application's own errors.
    """
    known = {**STATUS, **(statuses or {})}

    @app.exception_handler(HttpProblem)
    def http(request: Request, why: HttpProblem) -> Response:
        detail: Any = why.detail
        body = detail if isinstance(detail, dict) else {"message": detail}
        message, hint = one_line(str(body["message"])), one_line(str(body.get("hint", "")))
        if page is None or not for_a_reader(request):
            answer = {**body, "message": message, "hint": hint}
            return JSONResponse({"error": answer}, why.status_code, headers=why.headers)
        if message == NO_PAGE:
            message = f"There is no page at the address {request.url.path[:80]}"
        response = page(request, why.status_code, message, hint)
        response.headers.update(why.headers or {})
        return response

    @app.exception_handler(MetaloopError)
    def refused(request: Request, why: MetaloopError) -> Response:
        status = next((known[kind] for kind in type(why).__mro__ if kind in known), None)
        if status is None:
            return unwell(request, 503, "the host cannot answer this now", why.message)
        lint = [one.record() for one in getattr(why, "lint", ())]  # of a program that was not taken
        said = {"kind": why.kind, "message": why.message, "hint": why.hint} | ({"lint": lint} if lint else {})
        return http(request, HTTPException(status, said, {401: {"WWW-Authenticate": "Bearer"}, 503: WAIT}.get(status)))

    @app.exception_handler(RequestValidationError)
    def invalid(request: Request, why: RequestValidationError) -> Response:
        return http(request, HTTPException(422, {"message": first_fault(why), "hint": app.openapi_url or ""}))

    @app.exception_handler(ClientDisconnect)
    def cut_off(request: Request, why: ClientDisconnect) -> Response:
        return Response(status_code=400)  # nobody reads it; what has arrived of the body is no request


def unwell(request: Request, status: int, message: str, reason: str) -> Response:
    """The answer where the host is at fault: never a page, which might need what failed. The reason is for the log."""
    print(f"{request.method} {request.url.path}: {one_line(reason)}", file=sys.stderr, flush=True)
    return problem(status, message, "try again later", WAIT)


def for_a_reader(request: Request) -> bool:
    """Whether a browser asks for a page: none sends a token."""
    wants = "text/html" in request.headers.get("accept", "") and not bearer(request)
    return wants and not request.url.path.startswith("/api/")
