"""Downloads: board, entries, runs and experiments as CSV or JSON, in chunks because a contest may have many runs; never
the texts of entries."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any, cast

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import JsonValue
from sqlalchemy import select
from sqlalchemy.orm import undefer

from arena.contest import views
from arena.contest.contest import Contest
from arena.contest.courses import CONFIRMATION, CONTEST, SCREENING
from arena.contest.standing import whole_board
from arena.contest.tables import ContestEntry, Course, EntryParent
from arena.contest.web.api import csv_parts
from arena.contest.web.host import Host
from arena.contest.web.pages import show
from arena.serving.limits import EntryId, Rate, Word
from programs.text import word_list

TableRow = dict[str, JsonValue]
KINDS = {"csv": "text/csv; charset=utf-8", "json": "application/json"}
CHUNK = 200  # runs in memory at once
EXPERIMENT_COLUMNS = word_list("""
    run_id entry_id purpose task number status metric decision fraction seconds description reason diff
""")


def download_routes(host: Host) -> APIRouter:
    """One URL per table and format: /download/runs.csv."""
    routes, rate = APIRouter(), Rate(12, 60.0)  # each reads the whole contest

    @routes.get("/downloads", include_in_schema=False)
    def page(request: Request) -> Response:
        return show(host, request, "downloads", tables=TABLES, kinds=KINDS, hidden=host.contest.hides_texts)

    @routes.get(
        "/download/{name}.{kind}",
        summary="board, entries, runs or experiments as csv or json",
        response_class=Response,
    )
    def table(name: Word, kind: Word, request: Request) -> Response:
        if name not in TABLES or kind not in KINDS:
            detail = {"message": f"no table {name}.{kind}"[:80], "hint": "see /downloads for the list"}
            raise HTTPException(404, detail=detail)
        host.limited(rate, request)
        return answer(TABLES[name][1](host.contest), kind, f"{name}.{kind}")

    @routes.get(
        "/entry/{entry_id}/experiments.{kind}",
        summary="The experiments of one entry, with their diffs",
        response_class=Response,
    )
    def log(entry_id: EntryId, kind: Word, request: Request) -> Response:
        match = host.readable(request, entry_id)
        if kind not in ("csv", "json"):
            raise HTTPException(404, detail={"message": f"no experiments.{kind}"[:80], "hint": "available: csv, json"})
        return answer(experiments(host.contest, match.number), kind, f"{match.entry_id}.{kind}")

    return routes


def answer(rows: Iterator[TableRow], kind: str, name: str) -> Response:
    text = csv_parts(rows) if kind == "csv" else json_parts(rows)
    headers = {"content-disposition": f'attachment; filename="{name}"'}
    return StreamingResponse(text, media_type=KINDS[kind], headers=headers)


def json_parts(rows: Iterable[TableRow]) -> Iterator[str]:
    yield "["
    for number, row in enumerate(rows):
        yield (",\n" if number else "\n") + json.dumps(row, ensure_ascii=False)
    yield "\n]\n"


def batched(rows: Iterable[Any], size: int) -> Iterator[list[Any]]:
    them = iter(rows)
    while piece := list(islice(them, size)):
        yield piece


def board(contest: Contest) -> Iterator[TableRow]:
    yield from cast(Iterator[TableRow], whole_board(contest))


def entries(contest: Contest) -> Iterator[TableRow]:
    """All entries with the hash of the text, without the text."""
    with contest.database.read() as connection:
        all_entries = connection.scalars(select(ContestEntry).order_by(ContestEntry.number)).all()
        parents = {} if contest.hides_texts else {p.number: p.parent for p in connection.scalars(select(EntryParent))}
    for entry in all_entries:
        yield views.plain(views.entry_row(entry)) | {"parent": parents.get(entry.number)}


def courses(contest: Contest, number: int | None = None) -> Iterator[tuple[Course, ContestEntry]]:
    """Runs with their entries: all public ones, or those of one entry."""
    decided = contest.phase() == "decided"
    purposes = (CONTEST, SCREENING, *((CONFIRMATION,) if decided else ()))
    query = select(Course.run_id).where(Course.purpose.in_(purposes)).order_by(Course.number, Course.stored_order)
    if number is not None:
        query = query.where(Course.number == number)
    elif contest.hides_texts:
        query = query.join(ContestEntry, ContestEntry.number == Course.number).where(ContestEntry.person_id.is_(None))
    with contest.database.read() as connection:
        wanted = connection.scalars(query).all()
    for some in batched(wanted, CHUNK):
        with contest.database.read() as connection:
            by_run = {
                c.run_id: c
                for c in connection.scalars(select(Course).options(undefer(Course.body)).where(Course.run_id.in_(some)))
            }
            numbers = {course.number for course in by_run.values()}
            owners = {
                e.number: e for e in connection.scalars(select(ContestEntry).where(ContestEntry.number.in_(numbers)))
            }
        for run_id in some:
            if run_id in by_run:
                yield by_run[run_id], owners[by_run[run_id].number]


def runs(contest: Contest) -> Iterator[TableRow]:
    for course, entry in courses(contest):
        run = course.content
        tried = run["experiments"]
        measured = [e["metric"] for e in tried if e["decision"] in ("baseline", "keep") and e["metric"] is not None]
        better = max if run["direction"] == "higher" else min
        yield {
            "run_id": course.run_id,
            "entry_id": entry.entry_id,
            "number": entry.number,
            "entrant": entry.entrant,
            "purpose": course.purpose,
            "task": course.task,
            "metric": run["metric"],
            "unit": run["unit"],
            "direction": run["direction"],
            "gain": run["gain"],
            "baseline": measured[0] if measured else None,
            "best": better(measured) if measured else None,
            "fresh": run["final"],
            "noise_sd": run["sd"],
            "experiments": len(tried) + run["left_out"],
            "kept": sum(e["decision"] == "keep" for e in tried),
            "failed": sum(e["status"] != "ok" for e in tried),
        }


def experiments(contest: Contest, number: int | None = None) -> Iterator[TableRow]:
    for course, entry in courses(contest, number):
        whose = {"run_id": course.run_id, "entry_id": entry.entry_id, "purpose": course.purpose, "task": course.task}
        for experiment in course.content["experiments"]:
            row = cast(TableRow, {**whose, **experiment})
            yield {key: row[key] for key in EXPERIMENT_COLUMNS}


TABLES: dict[str, tuple[str, Callable[[Contest], Iterator[TableRow]]]] = {
    "board": ("the standings on the board, one row per entry", board),
    "entries": ("entrant, time, SHA-256 and state of each entry, without the text", entries),
    "runs": ("one row per run, with its verified gain", runs),
    "experiments": ("one row per experiment, with its diff", experiments),
}
