"""Imported logs: nothing runs there, so a display needs only the counts of the logs and what they show."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from analysis.study import read_study
from analysis.verdict.verdict import verdict_of
from analysis.views.tables import rows
from meta.ui.live import read_settings

COUNTS = """
SELECT count(DISTINCT path) FILTER (state = 'imported') AS logs, coalesce(sum("rows"), 0)::BIGINT AS experiments
FROM imports
"""


class ImportStatus:
    """The counts of an import; ``found``: how many of its kept changes are distinguishable from noise."""

    def __init__(self, folder: Path) -> None:
        """Raises Corrupt or OtherVersion."""
        with read_study(folder, views=("standings",)) as con:
            (counts,), self.found = rows(con.execute(COUNTS)), verdict_of(con)
        self.study, self.state = str(folder), "imported"
        self.last_event_at: str | None = read_settings(folder).get("created_at")
        self.verdict = self.found.sentences[0]
        self.experiments: int = counts["experiments"]
        self.logs: int = counts["logs"]
        self.trust = "self-reported"

    def record(self) -> dict[str, Any]:
        return {key: value for key, value in vars(self).items() if key != "found"}


def is_import(folder: Path) -> bool:
    return read_settings(folder).get("kind") == "import"
