"""What is said beside numbers that are not fully trusted, and what the referee noticed; a line each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from meta.cli import resolve
from meta.cli.output import Output

if TYPE_CHECKING:
    import duckdb

COUNTS = "SELECT kind, count(*) AS n FROM findings GROUP BY kind ORDER BY kind"
OF_MATCH = """
SELECT kind, count(*) AS n FROM findings
WHERE run_id IN (SELECT run_id FROM runs WHERE match_id = $1)
    OR (run_id IS NULL AND stream = (SELECT stream FROM matches WHERE match_id = $1))
GROUP BY kind ORDER BY kind
"""
IN_MATCH = """
SELECT DISTINCT trust FROM verifications WHERE match_id = $1 AND (status = 'ok' OR trust = 'unverified')
"""
OF_CREDIT = """
SELECT DISTINCT trust FROM experiments UNION SELECT DISTINCT trust FROM runs WHERE score_stream = 'selection'
"""


def lines(con: duckdb.DuckDBPyConnection, place: str, trusts: str, counts: str, given: Sequence[Any] = ()) -> list[str]:
    """Sentences on the trust that the query ``trusts`` finds, then the findings that ``counts`` finds.

    ``given`` are the parameters of both; ``place`` is how the study is named in a command.
    """
    from analysis.trust import findings_line, remarks

    said = remarks([row["trust"] for row in resolve.fetch(con, trusts, given)])
    found = findings_line(resolve.fetch(con, counts, given), place)
    return [*said, found] if found else said


def note(out: Output, con: duckdb.DuckDBPyConnection, place: str, trusts: str) -> None:
    """The same of a whole study, as remarks on stderr."""
    for line in lines(con, place, trusts, COUNTS):
        out.note(line)
