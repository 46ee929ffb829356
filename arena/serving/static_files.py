"""The style, scripts and icon of the pages of contests and projects."""

from __future__ import annotations

from functools import cache, partial
from pathlib import Path

from fastapi import APIRouter, Response

import analysis

HERE = Path(__file__).parent
FILES = (
    ("live.js", "text/javascript"),
    ("lint.js", "text/javascript"),
    ("draft.js", "text/javascript"),
    ("copy.js", "text/javascript"),
    ("icon.svg", "image/svg+xml"),
)


def static_routes(routes: APIRouter) -> None:
    @routes.get("/static/style.css")
    def style() -> Response:
        return Response(_style(), media_type="text/css", headers={"cache-control": "max-age=300"})

    for name, kind in FILES:
        routes.add_api_route(f"/static/{name}", partial(_file, name, kind), methods=["GET"])


def _file(name: str, kind: str) -> Response:
    raw = (HERE / "static" / name).read_bytes()
    return Response(raw, media_type=kind, headers={"cache-control": "max-age=300"})


@cache
def _style() -> str:
    """The report's style, so that both look alike, and the rules that only these pages need."""
    report = Path(analysis.__file__).parent / "templates" / "report" / "style.css"
    return report.read_text(encoding="utf-8") + (HERE / "static" / "contest.css").read_text(encoding="utf-8")
