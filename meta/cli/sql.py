"""``metaloop sql``: a DuckDB query over the views of a study."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from meta.cli import resolve, views
from meta.cli.commands import verb
from meta.cli.options import argument, flag
from meta.cli.output import Column, Output, Row, are_numbers
from programs.errors import UsageError


@verb(
    ("metaloop sql studies/NAME slowest", "a ready query; without a name they are listed"),
    ('metaloop sql studies/NAME "SELECT name, verified_gain FROM runs"', "a query"),
    ("metaloop sql studies/a --beside studies/b - < query.sql", "from stdin; b.runs are the runs of b"),
)
def sql(
    out: Output,
    study: Annotated[str, argument()],
    query: Annotated[str, argument(metavar="[QUERY|VIEW]", required=False, default="")],
    beside: Annotated[
        tuple[str, ...],
        flag(
            "Another study to query, too; repeatable. The views of studies/b are then b.runs and so on.", metavar="DIR"
        ),
    ],
) -> None:
    """Query a study with DuckDB SQL. Some views: studies, matches, programs,
    directives, runs, experiments, baselines, verifications, mutations, findings,
    faults, audits, standings, credit ("SHOW TABLES" lists all). --json prints a list
    of row objects. VIEW is a ready query with a legend; without one, these are listed."""
    from analysis.study import query as ask

    folder = resolve.study_folder(study, out)
    if not query:
        known = [{"view": name, "shows": views.view(name).legend} for name in views.names()]
        out.rows(known, (Column("view"), Column("shows", wrap=True)))
        return
    if query in views.names():
        how = views.view(query)
        with resolve.connect(folder) as con:
            views.show(out, how.rows(con, how.unset), how, empty="no rows")
        return
    text = text_of(query, f"metaloop sql {study}")
    rows = ask(folder, text, schemas([resolve.study_folder(other, out) for other in beside]))
    show_rows(out, rows)


def text_of(query: str, command: str) -> str:
    """The query, or stdin for ``-``. Raises UsageError if it is empty."""
    text = sys.stdin.read() if query == "-" else query
    if not text.strip():
        raise UsageError("the query is empty", hint=f'{command} "SHOW TABLES"')
    return text


def show_rows(out: Output, rows: Sequence[Row]) -> None:
    """The rows of a query; as JSON a bare list."""
    if out.mode == "json":
        out.json(rows)
    else:
        out.rows(rows, columns_of(rows), empty="no rows")


def schemas(folders: Sequence[Path]) -> dict[str, Path]:
    """Studies by their schema name in a query: the folder's name as an identifier."""
    named: dict[str, Path] = {}
    for folder in folders:
        name = re.sub(r"\W", "_", folder.resolve().name).lower()
        if name in named or name in ("main", "temp", "information_schema", "pg_catalog"):
            raise UsageError(
                f"--beside {folder}: the schema name {name} is already used", hint="rename one of the folders"
            )
        named[name] = folder
    return named


def columns_of(rows: Sequence[Row]) -> list[Column]:
    """A column for each key: numbers aligned right, long text wrapped."""
    first = rows[0] if rows else {}
    return [Column(key, right=(number := are_numbers(rows, key)), wrap=not number) for key in first]
