"""The tables of a study: the ledger's lines, parsed once, through ``views/*.sql`` in order."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from programs.common.errors import UsageError
from programs.common.text import word_list

if TYPE_CHECKING:
    import duckdb
    from _typeshed import DataclassInstance
    from pydantic import JsonValue

Record = TypeVar("Record", bound="DataclassInstance")
# In order: a view may read those before it.
SQL_VIEWS = word_list("""
    events studies matches arms programs directives run_starts verifications experiments calls runs baselines
    mutations champions harvest harvest_experiments faults findings turns night_turns audits edits ablations
    replays import_rows imports quarantine constraints
""")
RECORDS = ("recorded.lines", "recorded.places")  # what `events` is made of
LARGE_VIEWS = frozenset({*RECORDS, "experiments", "edits", "import_rows"})  # with rows for each experiment
#: Of the records of a kind with the same values of these columns, `recorded.KIND` has one.
KEYS = {
    "ablation": "ablation_id",
    "baseline": "match_id, task, stream, seed, splits::VARCHAR",
    "finding": "run_id, experiment_id, source_id, stream, seed, finding, text",
    "harvest": "task, search",
    "harvest_experiment": "task, search, stage, number",
    "match": "match_id",
    "match_ended": "match_id",
    "mutation": "generation, attempt, child_id, parent_ids, operator",
    "night_turn": "run_id, number",
    "program": "program_id",
    "replay": "ablation_id, commits, seed",
    "run_started": "run_id",
    "turn": "run_id, number, fate",
    "verification": "run_id, seed",
}
LAST_HOLDS = ("ablation", "match_ended")  # else the first record of a key
_TYPES = {"str": "VARCHAR", "float": "DOUBLE", "int": "BIGINT", "bool": "BOOLEAN", "Design": "VARCHAR",
          "tuple[str, ...]": "VARCHAR[]"}  # fmt: skip
_NUMBERS = frozenset({"DOUBLE", "BIGINT", "INTEGER", "BOOLEAN", "DOUBLE[]", "BIGINT[]"})
_PLAIN = frozenset(
    {"VARCHAR", "BIGINT", "INTEGER", "BOOLEAN", "VARCHAR[]", "BIGINT[]"}
)  # types whose values are JSON already


@cache
def statement(name: str, folder: str = "queries") -> str:
    """The text of one of our SQL files."""
    return (Path(__file__).parent.parent / folder / f"{name}.sql").read_text(encoding="utf-8")


def make(con: duckdb.DuckDBPyConnection, files: Sequence[Path], folder: Path | None = None) -> None:
    """Makes a table of each of SQL_VIEWS out of the segments; with ``folder``, writes each as Parquet there.

    The statements read `events`, those with a row for each experiment `recorded.lines`, and the others of one kind of
    event `recorded.KIND`, which has a column for each field of its type.
    """
    from analysis.ledger.events import TYPES, DecisionEvent, Experiment

    line = dict.fromkeys(("kind", "run_id", "match_id"), "VARCHAR") | {"seq": "BIGINT", "at": "TIMESTAMP"}
    line |= column_types(Experiment) | column_types(DecisionEvent) | {"schema": "BIGINT", "line": "BIGINT"}
    con.execute("SET VARIABLE segments = ?", [[exact_path(file) for file in files]])
    con.execute("SET VARIABLE line = ?", [json.dumps(line)])
    con.execute("CREATE SCHEMA recorded")
    for name in (*RECORDS, *SQL_VIEWS):
        query = statement(name.removeprefix("recorded."), "views")
        if folder is None or name == "events":
            few = "WHERE kind NOT IN ('experiment', 'decision')" if folder else ""
            con.execute(f"CREATE TABLE {name} AS FROM ({query}) {few} {'ORDER BY place' if name == 'events' else ''}")
        else:
            con.execute(f"COPY ({query}) TO '{quoted(folder / name)}.parquet'")
            show(con, name, folder)
        if name == "events":
            for (kind, what), event in TYPES.items():
                if kind and not what:
                    con.execute(f'CREATE VIEW recorded."{kind}" AS {_recorded(kind, event)}')
    con.execute("DROP SCHEMA recorded CASCADE")


def _recorded(kind: str, event: type[DataclassInstance]) -> str:
    columns = json.dumps(column_types(event))
    return f"""
        FROM (SELECT place, written_at, record, unnest(from_json(record, '{columns}'))
            FROM events WHERE kind = '{kind}')
        QUALIFY row_number() OVER (
            PARTITION BY {KEYS.get(kind, "place")} ORDER BY place{" DESC" if kind in LAST_HOLDS else ""}) = 1"""


def column_types(kind: type[DataclassInstance]) -> dict[str, str]:
    """The type of the column of each field without metadata, as `from_json` has it: ``…_at`` is a time, anything
    with parts JSON."""
    hints = {field_.name: str(field_.type).split(" | ")[0] for field_ in fields(kind) if not field_.metadata}
    return {name: "TIMESTAMP" if name.endswith("_at") else _TYPES.get(hint, "JSON") for name, hint in hints.items()}


def show(con: duckdb.DuckDBPyConnection, name: str, folder: Path) -> None:
    """Makes what `make` wrote into a view, or a table if it is small."""
    kind = "VIEW" if name in LARGE_VIEWS else "TABLE"
    con.execute(f"CREATE {kind} {name} AS FROM {parquet(folder / f'{name}.parquet')}")


def rows(result: duckdb.DuckDBPyConnection) -> list[dict[str, Any]]:
    """The rows of an executed query as dicts of plain values; empty for a statement that returns nothing."""
    columns = _columns(result)
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _columns(result: duckdb.DuckDBPyConnection) -> dict[str, Sequence[Any]]:
    """The plain values of each column; no columns where there are no rows."""
    described = [(name, str(kind)) for name, kind, *_ in result.description or ()]
    columns = zip(described, zip(*result.fetchall(), strict=True), strict=False)
    return {name: _plain_column(kind, column) for (name, kind), column in columns}


def answer(con: duckdb.DuckDBPyConnection, sql: str, hint: str) -> list[dict[str, JsonValue]]:
    """The rows of a query that a person wrote. Raises UsageError with DuckDB's message."""
    import duckdb

    try:
        result = con.execute(sql)
    except (duckdb.Error, RuntimeError, UnicodeEncodeError) as error:  # the last two: text that is no UTF-8
        raise UsageError(f"SQL: {' '.join(str(error).split())}", hint=hint) from error
    return rows(result)


def typed_rows(
    result: duckdb.DuckDBPyConnection, kind: type[Record], through: Callable[[Any], Any] | None = None
) -> list[Record]:
    """The rows as dataclasses of that kind; columns without a field are ignored.

    ``through`` converts each value but numbers. Raises LookupError for a field without a column.
    """
    names = [field.name for field in fields(kind)]
    columns = {name: str(kind) for name, kind, *_ in result.description or ()}
    if missing := [name for name in names if name not in columns]:
        raise LookupError(f"{kind.__name__}: the query has no column {', '.join(missing)}")
    known = _columns(result)
    chosen = [known[name] for name in names if known]
    if through:
        texts = [columns[name] not in _NUMBERS for name in names]
        chosen = [[through(value) for value in c] if text else c for c, text in zip(chosen, texts, strict=False)]
    return [kind(**dict(zip(names, row, strict=True))) for row in zip(*chosen, strict=True)]


def record(row: Mapping[str, JsonValue], kind: type[Record]) -> Record:
    """A dataclass of that kind from a mapping."""
    return kind(**{field.name: row[field.name] for field in fields(kind)})


def _plain_column(kind: str, values: Sequence[Any]) -> Sequence[Any]:
    """The values of a column converted by `plain`, all at once if the column type allows it."""
    if kind in _PLAIN or (kind == "DOUBLE" and _finite(values)):
        return values
    if kind == "DOUBLE[]":
        return [value if _finite(value) else plain(value) for value in values]
    return [plain(value, kind == "JSON") for value in values]


def _finite(values: Sequence[Any] | None) -> bool:
    try:
        return values is None or math.isfinite(sum(values))
    except TypeError:  # a NULL
        return False


def plain(value: Any, is_json: bool = False) -> Any:
    if is_json and isinstance(value, str):
        return json.loads(value)
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, datetime):
        return value.isoformat(timespec="milliseconds") + ("Z" if value.tzinfo is None else "")
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return str(value)


def exact_path(path: Path) -> str:
    """A path for DuckDB to read, which would take ``*``, ``?`` and ``[`` for a pattern of other files."""
    return re.sub(r"([*?\[])", r"[\1]", str(path))


def parquet(path: Path) -> str:
    """A table function that reads this file alone. A folder named ``task=x`` sets no column."""
    return f"read_parquet('{quoted(exact_path(path))}', hive_partitioning = false)"


def quoted(path: Path | str) -> str:
    return str(path).replace("'", "''")
