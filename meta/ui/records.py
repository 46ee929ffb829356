"""What the pages show of one study beyond its ledger's course: records by the views of DuckDB. Each request has a
connection of its own, so none waits for another."""

from __future__ import annotations

from difflib import unified_diff
from pathlib import Path
from typing import Any

from analysis.study import read_study
from analysis.views.tables import SQL_VIEWS, rows
from programs.common.errors import NotFound

Row = dict[str, Any]
MOST_EXPERIMENTS = 200  # on one page
RUN = """
SELECT r.*, m.metric, m.unit FROM runs AS r LEFT JOIN matches AS m USING (match_id) WHERE r.run_id = ? LIMIT 1
"""
EXPERIMENTS = """
SELECT *, count(*) OVER () AS total FROM experiments WHERE run_id = ? ORDER BY number LIMIT ? OFFSET ?
"""
CALLS = """
SELECT c.*, p.name AS program FROM calls AS c LEFT JOIN programs AS p USING (program_id)
WHERE run_id = ? ORDER BY number
"""
TURNS = "FROM turns WHERE run_id = ? ORDER BY number"
FINDINGS = "SELECT kind, text FROM findings WHERE run_id = ?"
PROGRAM = """
SELECT p.program_id, p.name, p.text, p.parent_ids, p.operator, m.model, m.reason
FROM programs AS p LEFT JOIN mutations AS m ON m.child_id = p.program_id AND m.accepted
WHERE p.text IS NOT NULL AND starts_with(p.program_id, ?) LIMIT 1
"""


def run_page(folder: Path, run_id: str, start: int) -> dict[str, Any]:
    """A run, its experiments from ``start`` on, and what models and roles said. Raises NotFound."""
    with read_study(folder, views=SQL_VIEWS) as con:

        def fetch(sql: str, *more: int) -> list[Row]:
            return rows(con.execute(sql, [run_id, *more]))

        if not (rows_found := fetch(RUN)):
            raise NotFound(f"there is no run {run_id!r} in this study", hint="the study's page lists them")
        return {
            "run": rows_found[0],
            "start": start,
            "experiments": fetch(EXPERIMENTS, MOST_EXPERIMENTS, start),
            "calls": fetch(CALLS),
            "turns": fetch(TURNS),
            "findings": fetch(FINDINGS),
        }


def program_page(folder: Path, program_id: str) -> dict[str, Any]:
    """A program with its text, and its lines that differ from those of each parent: (name, id, unified diff).
    ``program_id``: or the beginning of one, as pages print it. Raises NotFound."""
    with read_study(folder, views=SQL_VIEWS) as con:

        def read(identity: str) -> Row | None:
            records = rows(con.execute(PROGRAM, [identity]))
            return records[0] if records else None

        if (program := read(program_id)) is None:
            raise NotFound(f"there is no program {program_id!r} in this study", hint="the study's page lists them")
        parents = [parent for ancestor in program["parent_ids"] or () if (parent := read(ancestor))]
    own = program["text"].splitlines()
    changes = [
        (
            ancestor["name"],
            ancestor["program_id"],
            "\n".join(unified_diff(ancestor["text"].splitlines(), own, lineterm="", n=2)),
        )
        for ancestor in parents
    ]
    return {"program": program, "changes": changes}
