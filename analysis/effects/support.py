"""The experiments, runs, trainings or children behind a row of `credit`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from analysis.effects.experiments import KnobValue
from analysis.effects.rows import value_text
from analysis.views.scope import Scope
from analysis.views.tables import rows, statement

if TYPE_CHECKING:
    import duckdb

_METHODS = ("directive", "edit", "factorial", "leave-one-out", "mutation")


def support(con: duckdb.DuckDBPyConnection, credit: Mapping[str, Any]) -> tuple[list[dict[str, Any]], str]:
    """(rows behind it, their SQL): ``credit`` is a row of the view of the same connection.

    The statement is self-contained, with the row's values filled in, for `metaloop sql`.
    """
    method = credit["method"]
    name = "turns" if method == "factorial" and credit["stream"] == "search" else method.replace("-", "_")
    text = statement(f"effects/rests_on_{name if method in _METHODS else 'added'}")
    sql = " ".join(line.partition("--")[0].strip() for line in text.splitlines()).strip()
    values = dict(credit)
    if method == "edit":
        knob = credit["knob"].lower(), credit["value"]
        written = Scope(con, credit["task"]).rows("effects/edit_values", KnobValue)
        values["texts"] = sorted({edit.value for edit in written if (edit.key[0], value_text(edit.key)) == knob})
    sql = re.sub(r"\$(\w+)", lambda named: quoted(values[named[1]]), sql)
    return rows(con.execute(sql)), sql


def quoted(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(quoted, value))}]"
    return "NULL" if value is None else "'" + str(value).replace("'", "''") + "'"
