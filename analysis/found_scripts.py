"""The train.py that the last search of a study (harvest) ended with, on each task."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from analysis.tables import rows, statement

if TYPE_CHECKING:
    import duckdb


@dataclass(frozen=True)
class FoundScript:
    """The one train.py that a harvest ended with: its gain on fresh seeds, on data that chose nothing, with a 95%
    interval over seeds. ``seconds``: the device time of the harvest, verification included."""

    task: str
    unit: str
    seconds: float
    experiments: int
    gain: float | None
    low: float | None
    high: float | None
    n: int
    trust: str | None
    drift: float | None = None  # see `HarvestEvent`


def found_scripts(con: duckdb.DuckDBPyConnection, task: str, unit: str) -> list[FoundScript]:
    """Of an open study; at most one."""
    scripts = rows(con.execute(statement("found_scripts"), {"task": task}))
    return [FoundScript(task=task, unit=unit, **row) for row in scripts]
