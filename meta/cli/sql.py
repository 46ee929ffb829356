"""``metaloop sql``: a DuckDB query over the views of a study."""

from __future__ import annotations

import sys
from typing import Annotated

from analysis.study import query as query_study
from meta.cli import resolve, views
from meta.cli.commands import verb
from meta.cli.options import argument
from meta.cli.output import Column, Output, are_numbers
from programs.common.errors import UsageError


@verb(
    ("metaloop sql studies/NAME slowest", "a ready query; without a name they are listed"),
    ('metaloop sql studies/NAME "SELECT name, verified_gain FROM runs"', "a query"),
    ("metaloop sql studies/NAME - < query.sql", "from stdin"),
)
def sql(
    out: Output,
    study: Annotated[str, argument()],
    query: Annotated[str, argument(metavar="[QUERY|VIEW]", required=False, default="")],
) -> None:
    """Query a study with DuckDB SQL. Some views: studies, matches, programs,
    directives, runs, experiments, baselines, verifications, mutations, findings,
    faults, audits, standings, credit ("SHOW TABLES" lists all). --json prints a list
    of row objects. VIEW is a ready query with a legend; without one, these are listed."""
    folder = resolve.study_folder(study, out)
    if not query:
        known = [{"view": name, "shows": views.view(name).legend} for name in views.names()]
        out.rows(known, (Column("view"), Column("shows", wrap=True)))
        return
    if query in views.names():
        view = views.view(query)
        with resolve.connect(folder) as con:
            views.show(out, view.rows(con, view.unset), view, empty="no rows")
        return
    text = sys.stdin.read() if query == "-" else query
    if not text.strip():
        raise UsageError("the query is empty", hint=f'metaloop sql {study} "SHOW TABLES"')
    rows = query_study(folder, text)
    if out.mode == "json":  # a bare list
        out.json(rows)
        return
    numbers = {key: are_numbers(rows, key) for key in (rows[0] if rows else ())}
    out.rows(rows, [Column(key, right=right, wrap=not right) for key, right in numbers.items()], empty="no rows")
