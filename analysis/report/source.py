"""The SQL queries of a report, and their results.

The page shows the SQL as it was executed, with all values filled in: a reader can paste it into ``metaloop sql STUDY
-`` and get the same rows.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from analysis.views.tables import Record, rows, typed_rows
from analysis.wording import clean

if TYPE_CHECKING:
    import duckdb

SQL = Path(__file__).parent / "sql"
_NAME = re.compile(r"\$([a-z_]+)")


SqlValue = str | float | Sequence[str] | None
AnyRow = TypeVar("AnyRow")


@dataclass(frozen=True)
class Answer(Generic[AnyRow]):
    """A statement as it was executed, and its rows."""

    sql: str
    rows: list[AnyRow]


@dataclass(frozen=True)
class ReportSource:
    """An open study; ``study``: its folder, as written in the commands on the page."""

    con: duckdb.DuckDBPyConnection
    study: str

    def ask(self, name: str, kind: type[Record], **given: SqlValue) -> Answer[Record]:
        """Runs ``sql/NAME.sql`` with each $name replaced by its value in ``given``."""
        text = filled((SQL / f"{name}.sql").read_text(encoding="utf-8").strip(), given)
        return Answer(text, typed_rows(self.con.execute(text), kind, clean))

    def rows(self, name: str, **given: Any) -> Answer[dict[str, Any]]:
        """The same with the rows as dicts; values that the statement does not name are ignored."""
        text = (SQL / f"{name}.sql").read_text(encoding="utf-8").strip()
        parameters = filled(text, {key: given[key] for key in set(_NAME.findall(text))})
        result = self.con.execute(parameters)
        return Answer(parameters, [{key: clean(value) for key, value in row.items()} for row in rows(result)])

    @cached_property
    def config(self) -> dict[str, Any]:
        """The settings of the study."""
        row = self.con.execute("SELECT config FROM studies ORDER BY started_at DESC LIMIT 1").fetchone()
        return dict(json.loads(row[0])) if row else {}

    @property
    def tasks(self) -> list[str]:
        """Names of the training tasks."""
        names = [self.config.get("task"), *(task.get("task") for task in self.config.get("further") or ())]
        return list(dict.fromkeys(str(name) for name in names if name))


def filled(text: str, given: Mapping[str, SqlValue]) -> str:
    """The statement with its values filled in; KeyError for a $name without one."""
    return _NAME.sub(lambda match: literal(given[match[1]]), text)


def literal(value: SqlValue) -> str:
    """A value as an SQL literal."""
    if value is None:
        return "NULL"
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    return "[" + ", ".join(map(literal, value)) + "]::VARCHAR[]"
