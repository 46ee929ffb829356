"""A study as tables: the ledger's records through the views of ``views/*.sql``, in an in-memory DuckDB.

The ledger is the only truth; what is opened here is a snapshot of it, never written back. ``docs/views.md`` lists the
columns with their units.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis.ledger import segments, verify
from programs.errors import EnvironmentProblem, NotFound, UsageError

if TYPE_CHECKING:
    import duckdb

# In order: a view may read those before it. `standings`, `power` and `credit` are computed in Python and come last.
SQL_VIEWS = (
    "events", "studies", "matches", "arms", "programs", "directives", "run_starts", "verifications", "experiments",
    "calls", "runs", "baselines", "mutations", "champions", "best_of", "faults", "findings", "audits", "edits",
    "ablations", "replays", "imports", "import_rows", "quarantine",
)  # fmt: skip
_COLUMN = {"str": "VARCHAR", "float": "DOUBLE", "int": "BIGINT", "bool": "BOOLEAN"}
COMPUTED_VIEWS = ("standings", "power", "credit")
VIEWS = (*SQL_VIEWS, *COMPUTED_VIEWS)


def open_study(path: Path | str, *, views: Sequence[str] = VIEWS) -> duckdb.DuckDBPyConnection:
    """An in-memory DuckDB connection with a table for each view of the study at ``path``, as of now.

    ``path`` is a study folder or its ledger folder. ``con.sql("FROM runs").df()`` gives a pandas frame.
    ``views`` may leave out the computed ones where nobody needs them (`credit` costs a second on large studies).
    Raises NotFound where there is no ledger, Corrupt where it is damaged or another version of metaloop wrote it.
    """
    import duckdb

    place = ledger_folder(path)
    try:
        verify(place)
    except OSError as error:
        raise EnvironmentProblem(f"{error.filename}: {error.strerror}", hint="make the ledger readable") from error
    files = [str(file) for file in segments(place)]
    con = duckdb.connect(":memory:")
    for name in SQL_VIEWS:
        sql = statement(name, "views")
        con.execute(f"CREATE TABLE {name} AS {sql}", [files] if name == "events" else None)
    if "standings" in views:
        from analysis.standings import Standing, standings

        _add(con, "standings", Standing, standings(con))
    if "power" in views:
        from analysis.study_power import Power, power_rows

        _add(con, "power", Power, power_rows(con))
    if "credit" in views:
        from analysis.attribution import credit
        from analysis.credit import Credit

        _add(con, "credit", Credit, credit(con))
    return con


def query(path: Path | str, sql: str) -> list[dict[str, Any]]:
    """Rows of one SQL query over the views of a study, with values that JSON knows.

    Times become ISO 8601 text in UTC, JSON columns (`edit`, `config`) become objects, NaN becomes None.
    Raises UsageError with DuckDB's own words where the query is wrong; else as open_study.
    """
    import duckdb

    words = set(re.findall(r"[a-z_]+", sql.lower()))
    everything = bool(words & {"show", "describe", "summarize", "duckdb_tables", "information_schema"})
    with open_study(path, views=[name for name in VIEWS if everything or name in words]) as con:
        try:
            result = con.execute(sql)
        except (duckdb.Error, RuntimeError, UnicodeEncodeError) as error:  # the last two: text that is no UTF-8
            problem = " ".join(str(error).split())
            hint = "docs/views.md lists the views; metaloop sql STUDY 'DESCRIBE runs' lists the columns of one"
            raise UsageError(f"SQL: {problem}", hint=hint) from error
        return rows(result)


def rows(result: duckdb.DuckDBPyConnection) -> list[dict[str, Any]]:
    """The rows of an executed query as dicts of plain values; empty for a statement that returns nothing."""
    columns = [(name, str(kind) == "JSON") for name, kind, *_ in result.description or ()]
    return [
        {name: _plain(value, is_json) for (name, is_json), value in zip(columns, row, strict=True)}
        for row in result.fetchall()
    ]


def ledger_folder(path: Path | str) -> Path:
    """The folder with the segments of the study at ``path``; raises NotFound where there are none."""
    folder = Path(path)
    for place in (folder / "ledger", folder):
        if place.is_dir() and segments(place):
            return place
    hint = "name a study folder: metaloop status lists them, metaloop evolve --quick makes one"
    raise NotFound(f"{folder}: no study here (no ledger/*.jsonl)", hint=hint)


def statement(name: str, folder: str = "queries") -> str:
    """The text of one of our SQL files."""
    return (Path(__file__).parent / folder / f"{name}.sql").read_text(encoding="utf-8")


def _add(con: duckdb.DuckDBPyConnection, name: str, kind: type[Any], records: Sequence[Any]) -> None:
    """Registers frozen dataclasses of plain fields as a table, a column per field."""
    structure = {field: _COLUMN[str(hint).split(" | ")[0]] for field, hint in kind.__annotations__.items()}
    data = json.dumps([_plain(asdict(record)) for record in records])
    con.execute(
        f"CREATE TABLE {name} AS SELECT unnest(from_json(?, ?), recursive := true)", [data, json.dumps([structure])]
    )


def _plain(value: Any, is_json: bool = False) -> Any:
    if is_json and isinstance(value, str):
        return json.loads(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, datetime):
        return value.isoformat(timespec="milliseconds") + ("Z" if value.tzinfo is None else "")
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value if value is None or isinstance(value, (bool, int, str)) else str(value)
