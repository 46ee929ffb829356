"""Where a report's figures come from: SQL statements over the views, kept beside what they answered.

What is executed is the text that the page shows: values are written into the statement, so that a reader can paste it
into ``metaloop sql STUDY -`` and get the same rows.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from analysis.tables import Record, typed_rows

if TYPE_CHECKING:
    import duckdb

SQL = Path(__file__).parent / "sql"
# Control characters and those that turn the direction of writing: other people's text may not rearrange the page.
_UNSEEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]")
_NAME = re.compile(r"\$([a-z_]+)")


AnyRecord = TypeVar("AnyRecord", covariant=True)


@dataclass(frozen=True)
class Answer(Generic[AnyRecord]):
    """A statement as it was executed, and its rows."""

    name: str
    sql: str
    rows: tuple[AnyRecord, ...]

    @property
    def first(self) -> AnyRecord | None:
        return self.rows[0] if self.rows else None


@dataclass(frozen=True)
class Source:
    """An open study, and how it is named in the commands that the page shows."""

    con: duckdb.DuckDBPyConnection
    place: str

    def ask(self, name: str, kind: type[Record], **given: Any) -> Answer[Record]:
        """Runs ``sql/NAME.sql`` with the values of ``given`` written in place of $names."""
        text = filled((SQL / f"{name}.sql").read_text(encoding="utf-8").strip(), given)
        return Answer(name, text, tuple(typed_rows(self.con.execute(text), kind, clean)))

    def ask_one(self, name: str, kind: type[Record], **given: Any) -> tuple[Answer[Record], Record]:
        """The same for a query that always has one row, with that row."""
        answer = self.ask(name, kind, **given)
        return answer, answer.rows[0]

    @cached_property
    def tables(self) -> frozenset[str]:
        """The views that this study has."""
        return frozenset(name for (name,) in self.con.execute("SELECT table_name FROM duckdb_tables()").fetchall())


def filled(text: str, given: Mapping[str, Any]) -> str:
    """The statement with its values in place; KeyError for a $name without one."""
    return _NAME.sub(lambda found: literal(given[found[1]]), text)


def literal(value: Any) -> str:
    """A value as SQL writes it; a sequence of tuples is the body of VALUES."""
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    if isinstance(value, Sequence) and value and isinstance(value[0], tuple):
        return ", ".join("(" + ", ".join(map(literal, row)) + ")" for row in value)
    if isinstance(value, Sequence):
        return "[" + ", ".join(map(literal, value)) + "]::VARCHAR[]"
    raise TypeError(f"no SQL literal for {type(value).__name__}")


def clean(value: Any) -> Any:
    """Rows without characters that nobody sees; a mark stands where one was."""
    if isinstance(value, str):
        return _UNSEEN.sub("\ufffd", value)
    if isinstance(value, Mapping):
        return {key: clean(item) for key, item in value.items()}
    if isinstance(value, list):
        return [clean(item) for item in value]
    return value
