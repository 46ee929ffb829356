"""The entries of a contest's folder or of its export, for the commands that read either as a study."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from arena.contest.settings import MARK, is_export
from arena.contest.stored import entry_label
from programs.common.ids import content_id


def labels_by_arm(folder: Path, match_ids: Iterable[str]) -> dict[str, str]:
    """Arm → entry of an entrant, in these matches; empty if the folder is no contest's."""
    if not (folder / MARK).is_file():
        return {}
    if is_export(folder):
        rows = json.loads((folder / "entries.json").read_text(encoding="utf-8"))
        labels = {row["entry_id"]: entry_label(row["entrant"], row["name"]) for row in rows if row["role"] == "program"}
    else:
        from arena.contest.entering.lookup import named_entries
        from arena.contest.tables import ContestDatabase

        with ContestDatabase(folder).read() as connection:  # of any schema
            labels = {entry.entry_id: entry.label for entry in named_entries(connection) if entry.role == "program"}
    return {content_id("a", match_id, entry): label for match_id in match_ids for entry, label in labels.items()}
