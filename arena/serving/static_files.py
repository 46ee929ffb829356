"""The style, scripts and icon of the pages of contests and projects."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from fastapi import APIRouter, Response
from fastapi.staticfiles import StaticFiles

import analysis

HERE = Path(__file__).parent


def static_routes(routes: APIRouter) -> None:
    @routes.get("/static/style.css")
    def style() -> Response:
        return Response(_style(), media_type="text/css", headers={"cache-control": "max-age=300"})

    routes.mount("/static", StaticFiles(directory=HERE / "static"))


@cache
def _style() -> str:
    """The report's style, so that both look alike, and the rules that only these pages need."""
    report = Path(analysis.__file__).parent / "templates" / "report" / "style.css"
    return report.read_text(encoding="utf-8") + (HERE / "static" / "contest.css").read_text(encoding="utf-8")
