"""`metaloop export` of a project: what may be published of a project, as a repository and tables."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import select

from arena.home.project import MAIN, Project
from arena.home.tables import BlockRow, Pair, RunLease
from programs.common.errors import UsageError
from programs.common.text import no_formula, word_list

RUN_COLUMNS = ("lease_id", "volunteer_id", "base", "program_id", "budget", "device_seconds", "experiments")
PAIR_COLUMNS = word_list("""
    proposal_id number seed split base_metric metric difference status device_seconds measured_at
""")
BLOCK_COLUMNS = ("number", "proposal_id", "parent", "commit", "source_id", "gain", "low", "high", "merged_at", "void")


def written(project: Project, target: Path) -> dict[str, int]:
    """The number of rows of each file. Raises UsageError for a folder that is taken.

    ``seed`` and ``split`` of a pair name hidden data that were used once; nothing follows from them without the
    secret. Runs have the number of their volunteer.
    """
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UsageError(f"{target} is taken", hint="name an empty folder")
    target.mkdir(parents=True, exist_ok=True)
    shutil.copytree(project.folder / MAIN, target / MAIN)
    with project.database.read() as connection:
        runs = connection.scalars(
            select(RunLease).where(RunLease.returned_at.is_not(None)).order_by(RunLease.returned_at)
        ).all()
        pairs = connection.scalars(select(Pair).order_by(Pair.proposal_id, Pair.number)).all()
        blocks = connection.scalars(select(BlockRow).order_by(BlockRow.number)).all()
        return {
            "blocks": _table(target / "blocks.csv", BLOCK_COLUMNS, blocks),
            "pairs": _table(target / "pairs.csv", PAIR_COLUMNS, pairs),
            "runs": _table(target / "runs.csv", RUN_COLUMNS, runs),
        }


def _table(path: Path, columns: Sequence[str], rows: Sequence[Any]) -> int:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        for row in rows:
            values = [getattr(row, name) for name in columns]
            writer.writerow(no_formula(value) if isinstance(value, str) else value for value in values)
    return len(rows)
