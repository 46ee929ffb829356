"""Imported logs: nothing runs there, so a display needs only the counts of the logs and what they show."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from analysis.study import read_study
from analysis.tables import rows
from analysis.verdict.verdict import Verdict, verdict_of
from meta.ui.live import read_settings

COUNTS = """
SELECT count(DISTINCT path) FILTER (state = 'imported') AS logs, coalesce(sum("rows"), 0)::BIGINT AS experiments,
    coalesce(sum(tried), 0)::BIGINT AS tried, coalesce(sum(kept), 0)::BIGINT AS kept,
    coalesce(sum(quarantined), 0)::BIGINT AS quarantined
FROM imports
"""


@dataclass(frozen=True, kw_only=True)
class ImportStatus:
    """The counts of an import; ``found``: how many of its kept changes are distinguishable from noise."""

    study: str  # its folder
    state: str = "imported"
    as_of: str
    last_event_at: str | None
    purpose: str = "import"
    trust: str = "self-reported"
    verdict: str
    logs: int
    experiments: int
    tried: int
    kept: int
    quarantined: int
    found: Verdict

    def record(self) -> dict[str, object]:
        return {key: value for key, value in vars(self).items() if key != "found"}


def is_import(folder: Path) -> bool:
    return read_settings(folder).get("kind") == "import"


def import_status(folder: Path) -> ImportStatus:
    """Raises Corrupt or OtherVersion."""
    with read_study(folder, views=("standings",)) as con:
        counts, found = rows(con.execute(COUNTS))[0], verdict_of(con)
    return ImportStatus(
        study=str(folder),
        as_of=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        last_event_at=read_settings(folder).get("created_at"),
        verdict=found.sentences[0],
        found=found,
        **counts,
    )
