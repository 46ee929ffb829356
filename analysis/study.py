"""A study as tables: the ledger's records through the views of ``views/*.sql``, in an in-memory DuckDB.

The tables are a snapshot of the ledger and are never written back. ``docs/views.md`` lists the columns with units.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any, Literal

from analysis.ledger import require_whole, segments, verify
from analysis.ledger.compact import computed, opened, states
from analysis.views.tables import SQL_VIEWS, answer, column_types, make, plain, statement
from programs.common.errors import EnvironmentProblem, NotFound

if TYPE_CHECKING:
    import duckdb
    from pydantic import JsonValue

#: view → what computes its rows, and their type; imported only where the view is asked for
COMPUTED = {
    "standings": ("analysis.verdict.standings:standings", "analysis.verdict.standings:Standing"),
    "scales": ("analysis.views.scales:task_scales", "analysis.views.scales:TaskScale"),
    "credit": ("analysis.effects.attribution:credit", "analysis.effects.rows:CreditRow"),
    "transfer": ("analysis.transfer:transfer_cells", "analysis.transfer:Cell"),
    "league": ("analysis.effects.league:league", "analysis.effects.league:LeagueRow"),
    "contributions": ("analysis.effects.contributions:contributions", "analysis.effects.contributions:Contribution"),
}
#: of `queries/facts`, where what several queries need is defined once; `program_scores` there needs `scales`
FACTS = ("after_search", "verified_runs", "scored_runs", "directive_tries", "seed_noise", "void_arms", "device_time")
COMPUTED_VIEWS = tuple(COMPUTED)
VIEWS = (*SQL_VIEWS, *COMPUTED_VIEWS)
Records = Sequence[Any]  # of one computed view: frozen dataclasses
_CATALOGUE = ("show", "describe", "summarize", "duckdb_", "information_schema", "pragma", "sqlite_", "pg_")


@dataclass(frozen=True)
class _Tables:
    """The tables of one state of a ledger, the compact copy that they are from, if any, and what was computed."""

    con: duckdb.DuckDBPyConnection
    copy: Path | None
    computed: dict[str, Records] = field(default_factory=dict)


def open_study(path: Path | str, *, views: Sequence[str] = VIEWS) -> duckdb.DuckDBPyConnection:
    """An in-memory DuckDB connection with a table for each view of the study at ``path``, as of now.

    ``path`` is a study folder or its ledger folder. ``con.sql("FROM runs").df()`` gives a pandas frame.
    ``views`` may omit computed views that are not needed (`credit` takes a second on large studies).
    Raises NotFound without a ledger, Corrupt if it is damaged or another version of metaloop wrote it.
    """
    tables = _tables(ledger_folder(path))
    _compute(tables.con, views, "", tables)
    return tables.con


def read_study(path: Path | str, *, views: Sequence[str] = VIEWS) -> duckdb.DuckDBPyConnection:
    """As `open_study`, but only for reading: what this process made of the same ledger before may be used again.

    Its tables must not be changed; temporary ones can be added. A cursor of it has no computed views.
    """
    ledger = ledger_folder(path)
    copy = _kept(ledger.resolve(), states(segments(ledger)))
    con = copy.con.cursor()
    _compute(con, views, "TEMP", copy)
    return con


@lru_cache(maxsize=2)
def _kept(ledger: Path, state: tuple[object, ...]) -> _Tables:
    return _tables(ledger)


def _tables(ledger: Path) -> _Tables:
    import duckdb

    con = duckdb.connect(":memory:")
    try:
        copy = opened(con, ledger, segments(ledger))
        if copy is None:
            verify(ledger)
            make(con, segments(ledger))
        from programs.shelf import starter  # not for `judge`, which opens no study

        con.execute(f"CREATE MACRO stock_id() AS '{starter('stock').program_id}'")
        for fact in FACTS:
            con.execute(f"CREATE MACRO {statement(f'facts/{fact}')}")
        require_whole(ledger)
    except OSError as error:
        raise EnvironmentProblem(f"{error.filename}: {error.strerror}", hint="make the ledger readable") from error
    return _Tables(con, copy)


def _compute(con: duckdb.DuckDBPyConnection, views: Sequence[str], held: Literal["TEMP", ""], made: _Tables) -> None:
    """Adds the computed views among ``views`` to a connection with the tables ``made``."""
    if "credit" in views:
        from analysis.effects.attribution import METHODS

        if METHODS.points:  # what a package computes may depend on anything
            made = _Tables(made.con, None)
    for name in (name for name in COMPUTED if name in views):
        add = partial(_add, con, held, name, made.computed)
        if name == "credit" and made.copy is not None:
            computed(con, made.copy, held, name, add)
        else:
            add()
        if name == "scales":
            con.execute(f"CREATE {held} MACRO {statement('facts/program_scores')}")  # a macro over the table


def query(path: Path | str, sql: str) -> list[dict[str, JsonValue]]:
    """Rows of one SQL query over the views of a study, with JSON values.

    Times become ISO 8601 text in UTC, JSON columns (`edit`, `config`) become objects, NaN becomes None.
    Raises UsageError with DuckDB's message for an invalid query; else as open_study.
    """
    views = computed_in(sql)
    with (read_study if _only_reads(sql) else open_study)(path, views=views) as con:
        hint = "docs/views.md lists the views; metaloop sql STUDY 'DESCRIBE runs' lists the columns of one"
        return answer(con, sql, hint)


def computed_in(sql: str) -> list[str]:
    """Those of COMPUTED_VIEWS that a query names; all of them for one that lists the views."""
    words = set(re.findall(r"[a-z_]+", sql.lower()))
    everything = any(word.startswith(_CATALOGUE) for word in words)
    return [name for name in COMPUTED_VIEWS if everything or name in words]


def _only_reads(sql: str) -> bool:
    """Whether it cannot change a table. False for what is not SQL."""
    import duckdb

    try:
        return all(parsed.type == duckdb.StatementType.SELECT for parsed in duckdb.extract_statements(sql))
    except (duckdb.Error, TypeError):  # the latter: text that is no UTF-8
        return False


def ledger_folder(path: Path | str) -> Path:
    """The folder with the segments of the study at ``path``; raises NotFound without one."""
    folder = Path(path)
    for candidate in (folder / "ledger", folder):
        if candidate.is_dir() and segments(candidate):
            return candidate
    hint = "name a study folder: metaloop status lists them, metaloop evolve --quick makes one"
    raise NotFound(f"{folder}: no study here (no ledger/*.jsonl)", hint=hint)


def _add(con: duckdb.DuckDBPyConnection, held: str, name: str, kept: dict[str, Records]) -> None:
    """Creates the table of a computed view, a column per field without metadata, from ``kept`` or else newly computed
    rows."""
    compute, kind = map(resolve_name, COMPUTED[name])
    if name not in kept:
        kept[name] = list(compute(con))
    data = json.dumps([plain(asdict(record)) for record in kept[name]])
    con.execute(
        f"CREATE {held} TABLE {name} AS SELECT unnest(from_json(?, ?), recursive := true)",
        [data, json.dumps([column_types(kind)])],
    )
