"""The errors of every server, as a browser and a program get them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import httpx
import pytest
from fastapi import FastAPI, Request, Response
from fastapi.responses import HTMLResponse

from arena.serving.problems import add_handlers
from programs.common.errors import Ambiguous, Busy, Corrupt, CredentialMissing, MetaloopError, NotFound, ProgramError

SECRET = "/home/host/contest.sqlite is torn"


def ask(path: str, **headers: str) -> httpx.Response:
    app = FastAPI()

    def page(_: Request, status: int, message: str, hint: str) -> Response:
        return HTMLResponse(f"<p>{message} · {hint}", status)

    add_handlers(app, page, {Ambiguous: 409})

    def failing(kind: type[MetaloopError]) -> Callable[[], None]:
        def fail() -> None:
            raise kind(SECRET, hint="two\nlines")

        return fail

    for kind in (NotFound, CredentialMissing, ProgramError, Ambiguous, Busy, Corrupt):
        for before in ("", "/api"):
            app.get(f"{before}/{kind.__name__}")(failing(kind))

    async def answer() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://host") as client:
            return await client.get(path, headers=headers)

    return asyncio.run(answer())


def test_an_error_of_a_kind_has_its_status_and_says_itself() -> None:
    for kind, status in {"NotFound": 404, "CredentialMissing": 401, "ProgramError": 422, "Ambiguous": 409}.items():
        answer = ask(f"/{kind}")
        said = answer.json()["error"]
        assert (answer.status_code, said["message"], said["hint"]) == (status, SECRET, "two lines")
        assert ("www-authenticate" in answer.headers) == (status == 401)
    assert ask("/Busy").headers["retry-after"] == "30"


def test_browser_gets_a_page_and_a_token_or_the_api_does_not() -> None:
    assert ask("/NotFound", accept="text/html").text == f"<p>{SECRET} · two lines"
    assert "There is no page at the address /none" in ask("/none", accept="text/html").text
    for path, more in (("/NotFound", {"authorization": "Bearer x"}), ("/api/NotFound", {})):
        assert ask(path, accept="text/html", **more).json()["error"]["message"] == SECRET


def test_a_fault_of_the_server_is_for_its_log_alone(capfd: pytest.CaptureFixture[str]) -> None:
    answer = ask("/Corrupt", accept="text/html")
    assert answer.status_code == 503 and "sqlite" not in answer.text and answer.headers["retry-after"]
    assert SECRET in capfd.readouterr().err
