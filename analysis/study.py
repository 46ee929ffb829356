"""A study as tables: the ledger's records through the views of ``views/*.sql``, in an in-memory DuckDB.

The tables are a snapshot of the ledger and are never written back. ``docs/views.md`` lists the columns with units.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis.compact import computed, opened
from analysis.ledger import require_whole, segments, verify
from analysis.tables import IS_APART, SQL_VIEWS, answer, make, named_in, plain, statement
from programs.errors import EnvironmentProblem, NotFound, UsageError

if TYPE_CHECKING:
    import duckdb
    from pydantic import JsonValue

_COLUMN = {"str": "VARCHAR", "float": "DOUBLE", "int": "BIGINT", "bool": "BOOLEAN"}
COMPUTED_VIEWS = ("standings", "power", "scales", "credit", "transfer")
VIEWS = (*SQL_VIEWS, *COMPUTED_VIEWS)
_CATALOGUE = ("show", "describe", "summarize", "duckdb_", "information_schema", "pragma", "sqlite_", "pg_")


def open_study(
    path: Path | str, *, views: Sequence[str] = VIEWS, tables: Collection[str] = SQL_VIEWS
) -> duckdb.DuckDBPyConnection:
    """An in-memory DuckDB connection with a table for each view of the study at ``path``, as of now.

    ``path`` is a study folder or its ledger folder. ``con.sql("FROM runs").df()`` gives a pandas frame.
    ``views`` may omit computed views that are not needed (`credit` takes a second on large studies). Without any of
    them, ``tables`` may omit others; what those that stay read is there all the same.
    Raises NotFound without a ledger, Corrupt if it is damaged or another version of metaloop wrote it.
    """
    import duckdb

    ledger = ledger_folder(path)
    con = duckdb.connect(":memory:")
    con.execute(IS_APART)
    try:
        copy = opened(con, ledger)
        if copy is None:
            verify(ledger)
            make(con, segments(ledger), SQL_VIEWS if views else tables)
        require_whole(ledger)
    except OSError as error:
        raise EnvironmentProblem(f"{error.filename}: {error.strerror}", hint="make the ledger readable") from error
    _compute(con, views, copy)
    return con


def _compute(con: duckdb.DuckDBPyConnection, views: Sequence[str], copy: Path | None = None) -> None:
    """Adds the computed views among ``views``; ``copy``: the folder of the compact copy that the others are from."""
    if "standings" in views:
        from analysis.standings import Standing, standings

        _add(con, "standings", Standing, standings(con))
    if "power" in views:
        from analysis.study_power import Power, power_rows

        _add(con, "power", Power, power_rows(con))
    if "scales" in views:
        from analysis.task_scales import TaskScale, task_scales

        _add(con, "scales", TaskScale, list(task_scales(con)))
        con.execute(statement("program_scores"))  # a macro over the table
    if "credit" in views:
        from analysis.attribution import METHODS, credit
        from analysis.credit import CreditViewRow

        def attribute() -> None:
            _add(con, "credit", CreditViewRow, credit(con))

        if copy is None or METHODS.points:  # what a package computes may depend on anything
            attribute()
        else:
            computed(con, copy, "credit", attribute)
    if "transfer" in views:
        from analysis.transfer import Cell, transfer_cells

        _add(con, "transfer", Cell, transfer_cells(con))


def query(path: Path | str, sql: str, beside: Mapping[str, Path | str] | None = None) -> list[dict[str, JsonValue]]:
    """Rows of one SQL query over the views of a study, with JSON values.

    ``beside``: further studies by the name of the schema in which their views are (`other.runs`).
    Times become ISO 8601 text in UTC, JSON columns (`edit`, `config`) become objects, NaN becomes None.
    Raises UsageError with DuckDB's message for an invalid query; else as open_study.
    """
    words = set(re.findall(r"[a-z_]+", sql.lower()))
    everything = any(word.startswith(_CATALOGUE) for word in words)
    views = [name for name in COMPUTED_VIEWS if everything or name in words]
    named = SQL_VIEWS if everything else named_in(sql)

    def ask(tables: Sequence[str]) -> list[dict[str, JsonValue]]:
        with open_study(path, views=views, tables=tables) as con:
            for name, other in (beside or {}).items():
                _place_beside(con, name, other, views, tables)
            hint = "docs/views.md lists the views; metaloop sql STUDY 'DESCRIBE runs' lists the columns of one"
            return answer(con, sql, hint)

    try:
        return ask(named)
    except UsageError:  # DuckDB may know what was meant where it has them all
        return ask(SQL_VIEWS)


def _place_beside(
    con: duckdb.DuckDBPyConnection, name: str, path: Path | str, views: Sequence[str], tables: Sequence[str]
) -> None:
    """The views of another study in a schema of that name."""
    ledger = ledger_folder(path)
    verify(ledger)
    require_whole(ledger)
    con.execute(f'CREATE SCHEMA "{name}"; USE "{name}"')
    make(con, segments(ledger), SQL_VIEWS if views else tables)
    _compute(con, views)
    con.execute("USE main")


def ledger_folder(path: Path | str) -> Path:
    """The folder with the segments of the study at ``path``; raises NotFound without one."""
    folder = Path(path)
    for candidate in (folder / "ledger", folder):
        if candidate.is_dir() and segments(candidate):
            return candidate
    hint = "name a study folder: metaloop status lists them, metaloop evolve --quick makes one"
    raise NotFound(f"{folder}: no study here (no ledger/*.jsonl)", hint=hint)


def _add(con: duckdb.DuckDBPyConnection, name: str, kind: type[Any], records: Sequence[Any]) -> None:
    """Creates a table from frozen dataclasses of plain fields, a column per field."""
    structure = {field: _COLUMN[str(hint).split(" | ")[0]] for field, hint in kind.__annotations__.items()}
    data = json.dumps([plain(asdict(record)) for record in records])
    con.execute(
        f"CREATE TABLE {name} AS SELECT unnest(from_json(?, ?), recursive := true)", [data, json.dumps([structure])]
    )
