"""The remarks on results that are not fully trusted, and on the referee's findings, one line each."""

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
SELECT trust FROM experiments UNION SELECT trust FROM replays UNION
SELECT trust FROM runs WHERE score_stream = 'selection'
"""


def lines(
    con: duckdb.DuckDBPyConnection, study_name: str, trusts: str, counts: str, given: Sequence[Any] = ()
) -> list[str]:
    """Sentences on the trust levels that the query ``trusts`` returns, then on the findings that ``counts`` returns.

    ``given``: the parameters of both; ``place``: the study's folder, for a command to copy.
    """
    from analysis.trust import findings_line, remarks

    said = remarks([row["trust"] for row in resolve.fetch(con, trusts, given)])
    finding = findings_line(con.execute(counts, list(given)).fetchall(), study_name)
    return [*said, finding] if finding else said


def note(out: Output, con: duckdb.DuckDBPyConnection, study_name: str, trusts: str) -> None:
    """The same for a whole study, as remarks on stderr."""
    for line in lines(con, study_name, trusts, COUNTS):
        out.note(line)
