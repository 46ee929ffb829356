"""The settings in which each experiment differs from its task's untouched source, as ids.

Two tables in the schema `helper`: `setting_names` (id, task, knob, value as JSON) and `settings` (run: its `place` in
`run_starts`, number of the experiment, id). Parsing the configurations takes a third of the time of attribution and
depends only on the ledger, so compact copies contain both tables.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from analysis.views.tables import statement

if TYPE_CHECKING:
    import duckdb

_LOCK = threading.Lock()
TABLES = {
    "helper.setting_names": "id BIGINT, task VARCHAR, knob VARCHAR, value VARCHAR",
    "helper.settings": "run BIGINT, number BIGINT, id BIGINT",
}


def settings(con: duckdb.DuckDBPyConnection) -> None:
    """Creates both tables from the views `experiments` and `run_starts`, unless they exist."""
    is_known = "SELECT count(*) FROM information_schema.tables WHERE table_schema = 'helper'"
    with _LOCK:  # connections of several threads may share a database
        if con.execute(is_known).fetchone() != (0,):
            return
        con.begin()
        try:
            _make(con)
        except BaseException:
            con.rollback()
            raise
        con.commit()


def _make(con: duckdb.DuckDBPyConnection) -> None:
    con.execute("CREATE SCHEMA helper")
    for name, columns in TABLES.items():
        con.execute(f"CREATE TABLE {name} ({columns})")
    for (task,) in con.execute("SELECT DISTINCT task FROM run_starts WHERE task IS NOT NULL ORDER BY task").fetchall():
        _add(con, task)


def _add(con: duckdb.DuckDBPyConnection, task: str) -> None:
    keys = con.execute(statement("effects/setting_knobs"), {"task": task}).fetchall()
    names = sorted({knob for (knobs,) in keys for knob in knobs})
    paths = ["/" + name.replace("~", "~0").replace("/", "~1") for name in names]
    first = con.execute(statement("effects/setting_base"), {"task": task, "paths": paths}).fetchone()
    given = {
        "task": task,
        "paths": paths,
        "knobs": list(range(len(names))),
        "base": first[0] if first else [None] * len(names),
    }
    con.execute(f"CREATE TEMP TABLE settings_held AS {statement('effects/settings_held')}", given)
    for name in TABLES:
        con.execute(statement(name.replace("helper.", "effects/")), {"task": task, "names": names})
    con.execute("DROP TABLE settings_held")
