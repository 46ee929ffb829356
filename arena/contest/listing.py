"""The entries of a contest's folder or of its export, for the commands that read either as a study."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from arena.contest.settings import MARK, is_export
from arena.contest.stored import entry_label
from arena.study.private_files import ANNOUNCED
from programs.common.ids import content_id

if TYPE_CHECKING:
    import duckdb


def labels_by_arm(folder: Path, match_ids: Iterable[str]) -> dict[str, str]:
    """Arm → entry of an entrant, in these matches; empty if the folder is no contest's."""
    if not (folder / MARK).is_file():
        return {}
    if is_export(folder):
        rows = json.loads((folder / "entries.json").read_text(encoding="utf-8"))
        labels = {row["entry_id"]: entry_label(row["entrant"], row["name"]) for row in rows if row["role"] == "program"}
    else:
        from sqlalchemy import select  # takes a while

        from arena.contest.tables import ContestDatabase, ContestEntry, Person

        columns = select(ContestEntry.entry_id, Person.name, ContestEntry.name)  # no others: of any schema
        with ContestDatabase(folder).read() as connection:
            rows = connection.execute(columns.join(Person, Person.person_id == ContestEntry.person_id))
            labels = {entry_id: entry_label(entrant, name) for entry_id, entrant, name in rows}
    return {content_id("a", match_id, entry): label for match_id in match_ids for entry, label in labels.items()}


def name_entries(con: duckdb.DuckDBPyConnection, folder: Path) -> None:
    """Hide the tables of a contest's ledger, which has no names of people, behind temporary ones, in which runs and
    programs have the labels of their (earliest) entries, and the announcement its headline; else nothing."""
    labels = labels_by_arm(folder, [match_id for (match_id,) in con.execute("SELECT match_id FROM matches").fetchall()])
    if not labels:
        return
    con.execute("CREATE TEMP TABLE labels (place BIGINT, arm_id VARCHAR, name VARCHAR)")
    con.executemany("INSERT INTO labels VALUES (?, ?, ?)", [(i, *item) for i, item in enumerate(labels.items())])
    con.execute("CREATE TEMP TABLE program_labels AS SELECT program_id, arg_min(l.name, place) AS name FROM runs "
                "JOIN labels AS l USING (arm_id) GROUP BY ALL")  # fmt: skip
    for table, known, key in (
        ("runs", "labels", "arm_id"),
        ("standings", "labels", "arm_id"),
        ("programs", "program_labels", "program_id"),
    ):
        name_query = f"(SELECT l.name FROM {known} AS l WHERE l.{key} = t.{key})"
        columns = f"* REPLACE (coalesce({name_query}, name) AS name)"
        con.execute(f"CREATE OR REPLACE TEMP TABLE {table} AS SELECT {columns} FROM {table} AS t")
    if not con.execute("SELECT 1 FROM events WHERE kind = 'announcement'").fetchall():
        return
    if is_export(folder):
        announced = json.loads((folder / ANNOUNCED).read_text(encoding="utf-8"))
    else:
        from arena.contest.contest import Contest

        announced = Contest.open(folder).announcement()
    con.execute(
        "CREATE TEMP TABLE events AS SELECT * REPLACE (CASE WHEN kind = 'announcement' THEN "
        "json_merge_patch(record, $1) ELSE record END AS record) FROM events",
        [json.dumps({"headline": announced.get("headline")})],
    )
