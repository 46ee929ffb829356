"""Errors as a program gets them: a JSON object with a message and a hint, each on one line."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException as HttpProblem

from analysis.ledger.json_values import first_fault
from programs.errors import CredentialMissing, MetaloopError, NotFound, UsageError
from programs.text import one_line

#: Of our own errors, the first that fits; the last is no fault of the client.
STATUS = {NotFound: 404, CredentialMissing: 401, UsageError: 400, MetaloopError: 503}


def problem(status: int, message: str, hint: str = "", headers: Mapping[str, str] | None = None) -> JSONResponse:
    said = {"message": one_line(message), "hint": one_line(hint)}
    return JSONResponse({"error": said}, status, headers=headers)


def add_handlers(app: FastAPI) -> Callable[[Request, HttpProblem], Response]:
    """Answer every error of the application so; returns the handler of HTTP errors."""

    @app.exception_handler(HttpProblem)
    def http(_request: Request, why: HttpProblem) -> Response:
        detail: Any = why.detail
        said = detail if isinstance(detail, dict) else {"message": detail}
        return problem(why.status_code, str(said["message"]), str(said.get("hint", "")), why.headers)

    @app.exception_handler(MetaloopError)
    def refused(_request: Request, why: MetaloopError) -> Response:
        status = next(status for kind, status in STATUS.items() if isinstance(why, kind))
        challenge = {"WWW-Authenticate": "Bearer"} if status == 401 else None
        return problem(status, why.message, why.hint, challenge)

    @app.exception_handler(RequestValidationError)
    def invalid(request: Request, why: RequestValidationError) -> Response:
        return http(request, HTTPException(422, first_fault(why)))

    return http
