"""Downloads: board, entries, runs and experiments as CSV, JSON or Parquet; never the texts of entries.

A file is written once per state of the contest, in chunks because a contest may have many runs, and served from disk.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.responses import FileResponse
from pydantic import JsonValue
from sqlalchemy import func, select
from sqlalchemy.orm import undefer

from arena.contest import views
from arena.contest.contest import Contest
from arena.contest.courses import CONFIRMATION, CONTEST, SCREENING
from arena.contest.standing import whole_board
from arena.contest.tables import ContestEntry, Course, EntryParent
from arena.contest.web.api import as_csv
from arena.contest.web.host import Host
from arena.contest.web.limits import EntryId, Rate, Word
from arena.contest.web.pages import show

if TYPE_CHECKING:
    import pyarrow  # type: ignore[import-untyped]

TableRow = dict[str, JsonValue]
KINDS = {"csv": "text/csv; charset=utf-8", "json": "application/json", "parquet": "application/vnd.apache.parquet"}
FOLDER = "downloads"
CHUNK = 200  # runs in memory at once
PATIENCE = 10.0  # minimum age of a file before it is written again, in multiples of the time it took
TEXT, WHOLE, REAL = "string", "int64", "double"
RUN_COLUMNS = {
    "run_id": TEXT, "entry_id": TEXT, "number": WHOLE, "entrant": TEXT, "purpose": TEXT, "task": TEXT, "metric": TEXT,
    "unit": TEXT, "direction": TEXT, "gain": REAL, "baseline": REAL, "best": REAL, "fresh": REAL, "noise_sd": REAL,
    "experiments": WHOLE, "kept": WHOLE, "failed": WHOLE,
}  # fmt: skip
EXPERIMENT_COLUMNS = {
    "run_id": TEXT,
    "entry_id": TEXT,
    "purpose": TEXT,
    "task": TEXT,
    "number": WHOLE,
    "status": TEXT,
    "metric": REAL,
    "decision": TEXT,
    "fraction": REAL,
    "seconds": REAL,
    "description": TEXT,
    "reason": TEXT,
    "diff": TEXT,
}


def download_routes(host: Host) -> APIRouter:
    """One URL per table and format: /download/runs.csv."""
    routes, files, rate = APIRouter(), Files(host.contest), Rate(60, 60.0)

    @routes.get("/downloads", include_in_schema=False)
    def page(request: Request) -> Response:
        return show(host, request, "downloads", tables=TABLES, kinds=KINDS, hidden=host.contest.hides_texts)

    @routes.get(
        "/download/{name}.{kind}",
        summary="board, entries, runs or experiments as csv, json or parquet",
        response_class=Response,
    )
    def table(name: Word, kind: Word, request: Request) -> Response:
        if name not in TABLES or kind not in KINDS:
            detail = {"message": f"no table {name}.{kind}"[:80], "hint": "see /downloads for the list"}
            raise HTTPException(404, detail=detail)
        host.limited(rate, request)
        return FileResponse(files.made(name, kind), media_type=KINDS[kind], filename=f"{name}.{kind}")

    @routes.get(
        "/entry/{entry_id}/experiments.{kind}",
        summary="The experiments of one entry, with their diffs",
        response_class=Response,
    )
    def log(entry_id: EntryId, kind: Word, request: Request) -> Response:
        match = host.readable(request, entry_id)
        if kind not in ("csv", "json"):
            raise HTTPException(404, detail={"message": f"no experiments.{kind}"[:80], "hint": "available: csv, json"})
        rows = list(experiments(host.contest, match.number))
        return Response(as_csv(rows) if kind == "csv" else json.dumps(rows), media_type=KINDS[kind])

    return routes


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


TABLES: dict[str, tuple[str, Callable[[Contest], Iterator[TableRow]], dict[str, str] | None]] = {
    "board": ("the standings on the board, one row per entry", board, None),
    "entries": ("entrant, time, SHA-256 and state of each entry, without the text", entries, None),
    "runs": ("one row per run, with its verified gain", runs, RUN_COLUMNS),
    "experiments": ("one row per experiment, with its diff", experiments, EXPERIMENT_COLUMNS),
}


class Files:
    """The download files; each is written again if the contest has changed and the file is old enough."""

    def __init__(self, contest: Contest) -> None:
        self.contest = contest
        self._locks = {(name, kind): threading.Lock() for name in TABLES for kind in KINDS}
        self._made: dict[
            tuple[str, str], tuple[str, float]
        ] = {}  # its state of the contest, and the time until which it is served

    def state(self) -> str:
        with self.contest.database.read() as connection:
            counted = connection.execute(
                select(func.count(), func.max(ContestEntry.changed_at)).select_from(ContestEntry)
            ).one()
            stored = connection.scalar(select(func.count()).select_from(Course))
        version = self.contest.database.fact("board").get("version")
        return f"{counted} {stored} {version} {self.contest.phase()}"

    def made(self, name: str, kind: str) -> Path:
        path = self.contest.folder / FOLDER / f"{name}.{kind}"
        with self._locks[name, kind]:
            state, (known, until) = self.state(), self._made.get((name, kind), ("", 0.0))
            if known != state and time.monotonic() >= until:
                began = time.monotonic()
                path.parent.mkdir(exist_ok=True)
                partial = path.with_name(f".{path.name}.partial")
                write(partial, kind, TABLES[name][1](self.contest), TABLES[name][2])
                partial.replace(path)
                self._made[name, kind] = state, time.monotonic() + PATIENCE * (time.monotonic() - began)
        return path


def write(path: Path, kind: str, rows: Iterator[TableRow], columns: dict[str, str] | None) -> None:
    """Write a table in chunks. Without ``columns`` it is written in one chunk and the types come from the rows."""
    pieces = ([*rows],) if columns is None else batched(rows, 5000)
    if kind == "parquet":
        _parquet(path, pieces, columns)
        return
    with path.open("w", encoding="utf-8", newline="") as file:
        for number, piece in enumerate(pieces):
            if kind == "csv":
                text = as_csv(piece)
                file.write(text if number == 0 else text.partition("\r\n")[2])
            else:
                file.write("[\n" if number == 0 else ",\n")
                file.write(",\n".join(json.dumps(row, ensure_ascii=False) for row in piece))
        if kind == "json":
            file.write("\n]\n" if file.tell() else "[]\n")


def _parquet(path: Path, pieces: Any, columns: dict[str, str] | None) -> None:
    import pyarrow
    from pyarrow import parquet

    schema = pyarrow.schema([(name, getattr(pyarrow, _MADE[kind])()) for name, kind in (columns or {}).items()])
    if columns is None:
        parquet.write_table(pyarrow.Table.from_pylist(next(iter(pieces))), path)
        return
    with parquet.ParquetWriter(path, schema, compression="zstd") as file:
        for piece in pieces:
            file.write_table(_table(piece, schema))


_MADE = {TEXT: "string", WHOLE: "int64", REAL: "float64"}


def _table(rows: Sequence[TableRow], schema: pyarrow.Schema) -> pyarrow.Table:
    import pyarrow

    return pyarrow.Table.from_pylist(list(rows), schema=schema)
