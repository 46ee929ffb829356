"""The tables of a study: the ledger's lines, parsed once, through ``views/*.sql`` in order.

A small ledger becomes tables in memory. A large one becomes Parquet files in a folder (`write`), which
`analysis.compact` manages; both use the same statements and have the same rows in the same order.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import fields
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from analysis.ledger import refuse, sound
from analysis.merged import BATCH, Disordered, batches
from programs.errors import UsageError
from programs.text import word_list

if TYPE_CHECKING:
    import duckdb
    from _typeshed import DataclassInstance
    from pydantic import JsonValue

Record = TypeVar("Record", bound="DataclassInstance")
Columns = TypeVar("Columns")  # a TypedDict
# In order: a view may read those before it.
SQL_VIEWS = word_list("""
    events studies matches arms programs directives run_starts verifications experiments calls runs baselines
    mutations champions harvest harvest_experiments faults findings turns night_turns audits edits ablations
    replays import_rows imports quarantine constraints
""")
SEED_NOISE = "seed_noise"  # a macro over `baselines`
LARGE_VIEWS = frozenset({"experiments", "edits", "import_rows"})  # with one or more rows per experiment
_NUMBERS = frozenset({"DOUBLE", "BIGINT", "INTEGER", "BOOLEAN", "DOUBLE[]", "BIGINT[]"})
_PLAIN = frozenset(
    {"VARCHAR", "BIGINT", "INTEGER", "BOOLEAN", "VARCHAR[]", "BIGINT[]"}
)  # types whose values are JSON already
EVENTS = 'place, written_at, segment, seq, kind, run_id, match_id, "schema", record'  # columns of `events`
PARSED = 'SELECT place, "at" AS written_at, * EXCLUDE (place, "at") FROM parsed'
#: Tables whose every row is from one rare kind of record. To plan the statement of a table takes longer than to run it,
#: so where a ledger has no such record, the columns of an earlier one are used.
RARE = word_list("""
    calls mutations champions harvest harvest_experiments faults findings turns night_turns audits ablations
    replays import_rows imports quarantine
""")
_columns_of: dict[str, str] = {}  # of a table that was made by its statement, as SQL
GROUP = 20_480  # rows of a group of records.parquet: 20 MB, so that a few records can be read without the others


@cache
def statement(name: str, folder: str = "queries") -> str:
    """The text of one of our SQL files."""
    return (Path(__file__).parent / folder / f"{name}.sql").read_text(encoding="utf-8")


def make(con: duckdb.DuckDBPyConnection, files: Sequence[Path], names: Collection[str] = SQL_VIEWS) -> None:
    """Makes a table of each of SQL_VIEWS out of the segments, or of ``names`` and those that they read."""
    _lines(con, files)
    con.execute(f"CREATE TEMP TABLE records AS {statement('records', 'views')}")
    present = {kind for (kind,) in con.execute("SELECT DISTINCT kind FROM records").fetchall()}
    for name in with_sources(names):
        if name == "experiments":
            con.execute(f"CREATE TEMP TABLE outcomes AS {statement('outcomes', 'views')}")
            con.execute(f"CREATE TEMP VIEW placed AS {statement('placed', 'views')}")
        if name in _columns_of and _kind(name) not in present:
            con.execute(f"CREATE TABLE {name} ({_columns_of[name]})")
        else:
            con.execute(f"CREATE TABLE {name} AS {statement(name, 'views')}")
        if name in RARE and name not in _columns_of:
            described = con.execute(f"DESCRIBE {name}").fetchall()
            _columns_of[name] = ", ".join(f'"{column}" {kind}' for column, kind, *_ in described)
    con.execute("DROP VIEW IF EXISTS placed; DROP TABLE IF EXISTS outcomes")
    con.execute("DROP TABLE records; DROP VIEW parsed; DROP VIEW lines")


def named_in(*queries: str) -> list[str]:
    """Those of SQL_VIEWS that the queries name."""
    words = set(re.findall(r"[a-z_]+", " ".join(queries).lower()))
    if SEED_NOISE in words:
        words.add("baselines")
    return [name for name in SQL_VIEWS if name in words]


@cache
def _kind(name: str) -> str:
    """The kind of record that a table of RARE is from."""
    [kind] = set(re.findall(r"kind = '(\w+)'", statement("imports" if name == "import_rows" else name, "views")))
    return str(kind)


def with_sources(names: Collection[str]) -> list[str]:
    """Those of SQL_VIEWS among ``names``, and those before them that their statements name, in order."""
    wanted = set(names)
    for name in reversed(SQL_VIEWS):
        if name in wanted:
            wanted |= _named_by(name)
    return [name for name in SQL_VIEWS if name in wanted]


@cache
def _named_by(name: str) -> frozenset[str]:
    parts = ("outcomes", "placed", name) if name == "experiments" else (name,)
    words = {word for part in parts for word in re.findall(r"\w+", statement(part, "views"))}
    return frozenset(words.intersection(SQL_VIEWS[: SQL_VIEWS.index(name)]))


def write(con: duckdb.DuckDBPyConnection, files: Sequence[Path], folder: Path) -> None:
    """Writes ``NAME.parquet`` for each of SQL_VIEWS into ``folder``, and `events` as ``records-N.parquet``.

    Reads every line once and checks its place in the chain on the way. Raises Corrupt as `ledger.verify` does.
    """
    try:
        _write_records(con, files, folder)
    except Disordered:
        _sort_records(con, files, folder)
    # What the views of the rare kinds read; the records of the common ones would be decoded for each of them.
    con.execute(f"CREATE TABLE events AS SELECT {EVENTS} FROM records WHERE kind NOT IN ('experiment', 'decision')")
    for name in SQL_VIEWS[1:]:
        if name == "experiments":
            _write_experiments(con, folder)
            _show_one(con, name, folder)
        elif name in LARGE_VIEWS:
            copy(con, statement(name, "views"), folder / name)
            _show_one(con, name, folder)
        else:
            con.execute(f"CREATE TABLE {name} AS {statement(name, 'views')}")
            copy(con, f"FROM {name}", folder / name)


def show(con: duckdb.DuckDBPyConnection, folder: Path) -> None:
    """Makes the files that `write` left into views, the small ones into tables."""
    for name in SQL_VIEWS:
        _show_one(con, name, folder)


def _show_one(con: duckdb.DuckDBPyConnection, name: str, folder: Path) -> None:
    if name == "events":
        _show(con, name, EVENTS, sorted(folder.glob("records-*.parquet")))
    elif name == "experiments":
        _show(con, name, "* EXCLUDE (place)", sorted(folder.glob("experiments-*.parquet")))
    elif name in LARGE_VIEWS:
        _show(con, name, "*", [folder / f"{name}.parquet"])
    else:
        con.execute(f"CREATE TABLE {name} AS FROM '{quoted(folder / name)}.parquet'")


def _write_records(con: duckdb.DuckDBPyConnection, files: Sequence[Path], folder: Path) -> None:
    """The lines as they are merged in Python, a file a batch; one batch is parsed while the next one is read."""
    import duckdb

    def store(number: int, lines: object) -> None:
        con.register("lines", lines)
        copy(con, f"WITH parsed AS ({statement('parsed', 'views')}) {PARSED}", folder / f"records-{number:06d}", GROUP)

    pending: Future[None] | None = None
    try:
        with ThreadPoolExecutor(1) as worker:
            for number, lines in enumerate(batches(files)):
                if pending is not None:
                    pending.result()
                pending = worker.submit(store, number, lines)
            if pending is not None:
                pending.result()
    except duckdb.InvalidInputException as error:  # a line that is no JSON
        raise Disordered(str(error)) from error
    con.unregister("lines")
    _show(con, "records", "*", sorted(folder.glob("records-*.parquet")))
    if con.execute(statement("disorder", "views")).fetchone() != (0,):
        raise Disordered("the clock of a writer went back")


def _sort_records(con: duckdb.DuckDBPyConnection, files: Sequence[Path], folder: Path) -> None:
    """The same by sorting, which takes several times as long and much room on the disk."""
    for path in folder.glob("records-*.parquet"):
        path.unlink()
    for path in files:
        if not sound(path):
            refuse(path)
    _lines(con, files)
    copy(con, statement("records", "views"), folder / "records-0", GROUP)
    con.execute("DROP VIEW parsed; DROP VIEW lines")
    _show(con, "records", "*", [folder / "records-0.parquet"])


def _write_experiments(con: duckdb.DuckDBPyConnection, folder: Path) -> None:
    """In pieces, each put in order by itself: all their text at once does not go into the memory."""
    con.execute(f"CREATE TEMP TABLE outcomes AS {statement('outcomes', 'views')}")
    con.execute(f"CREATE TEMP VIEW placed AS {statement('placed', 'views')}")
    ((last,),) = con.execute("SELECT coalesce(max(place), 1) FROM records").fetchall()
    for start in range(1, last + 1, BATCH):
        piece = f"SELECT * FROM placed WHERE place BETWEEN {start} AND {start + BATCH - 1} ORDER BY place"
        copy(con, piece, folder / f"experiments-{start:012d}")
    con.execute("DROP VIEW placed; DROP TABLE outcomes")


def _lines(con: duckdb.DuckDBPyConnection, files: Sequence[Path]) -> None:
    """The views `lines` and `parsed` over the segments, in no order."""
    names = ", ".join(f"'{quoted(file)}'" for file in files)
    con.execute(f"SET VARIABLE segments = [{names}]")
    for name in ("lines", "parsed"):
        con.execute(f"CREATE TEMP VIEW {name} AS {statement(name, 'views')}")


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


def rows_as(result: duckdb.DuckDBPyConnection, kind: type[Columns]) -> list[Columns]:
    """The rows as typed dicts of that kind; they may have further columns. Raises LookupError for a missing one."""
    names = {name for name, *_ in result.description or ()}
    if missing := sorted(getattr(kind, "__required_keys__", frozenset()) - names):
        raise LookupError(f"{kind.__name__}: the query has no column {', '.join(missing)}")
    return cast("list[Columns]", rows(result))


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


def copy(con: duckdb.DuckDBPyConnection, sql: str, target: Path, group: int = 122_880) -> None:
    con.execute(f"COPY ({sql}) TO '{quoted(target)}.parquet' (FORMAT parquet, ROW_GROUP_SIZE {group})")


def _show(con: duckdb.DuckDBPyConnection, name: str, columns: str, files: Sequence[Path]) -> None:
    """A view over Parquet files, in their order."""
    names = ", ".join(f"'{quoted(file)}'" for file in files)
    con.execute(f"CREATE OR REPLACE VIEW {name} AS SELECT {columns} FROM read_parquet([{names}])")


def quoted(path: Path) -> str:
    return str(path).replace("'", "''")
