"""The data of an attribution: one task of an open study, without the excluded matches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from analysis.views.tables import Record, statement, typed_rows

if TYPE_CHECKING:
    import duckdb
    from numpy.typing import NDArray

Parameter = str | Sequence[str] | Sequence[float]


@dataclass(frozen=True)
class Scope:
    """Runs the statements of ``queries/`` with $task and $exclude (ids of matches to leave out) bound."""

    con: duckdb.DuckDBPyConnection
    task: str
    exclude: tuple[str, ...] = ()

    def text(self, name: str) -> str:
        return statement(name)

    def given(self, name: str, **more: Parameter) -> dict[str, Parameter]:
        """The parameters that the statement uses, because DuckDB rejects others."""
        values: dict[str, Parameter] = {"task": self.task, "exclude": list(self.exclude), **more}
        return {key: value for key, value in values.items() if f"${key}" in self.text(name)}

    def rows(self, name: str, kind: type[Record], **more: Parameter) -> list[Record]:
        """The rows of a statement as dataclasses of that kind, by the names of the columns."""
        return typed_rows(self.con.execute(self.text(name), self.given(name, **more)), kind)

    def columns(self, name: str, **more: Parameter) -> dict[str, NDArray[Any]]:
        """The columns of a statement without NULLs, as arrays."""
        import numpy as np

        arrays = self.con.execute(self.text(name), self.given(name, **more)).fetchnumpy()
        return {column: np.asarray(values) for column, values in arrays.items()}

    def table(self, name: str, **more: Parameter) -> None:
        """Creates a temporary table of the statement's name from its rows; the caller drops it."""
        table = name.rpartition("/")[2]
        self.con.execute(f"CREATE OR REPLACE TEMP TABLE {table} AS {self.text(name)}", self.given(name, **more))

    @cached_property
    def unit(self) -> str:
        """The unit of the task's metric, else the metric's name, from the first match on the task."""
        unit = "coalesce(nullif(config ->> 'unit', ''), metric)"
        sql = f"SELECT {unit} FROM matches WHERE task = ? AND metric IS NOT NULL LIMIT 1"
        row = self.con.execute(sql, [self.task]).fetchone()
        return str(row[0]) if row else "metric"


def tasks(con: duckdb.DuckDBPyConnection) -> list[str]:
    """The tasks with runs, in order of appearance."""
    sql = "SELECT task FROM run_starts WHERE task IS NOT NULL GROUP BY task ORDER BY min(place)"
    return [task for (task,) in con.execute(sql).fetchall()]


def scopes(con: duckdb.DuckDBPyConnection, exclude: Sequence[str] = ()) -> list[Scope]:
    return [Scope(con, task, tuple(exclude)) for task in tasks(con)]
