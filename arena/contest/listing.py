"""The entries of a contest's folder or of its export, for the commands that read either as a study."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from arena.contest.settings import MARK, is_export
from arena.contest.stored import NamedEntry, entry_label
from programs.ids import content_id

if TYPE_CHECKING:
    from arena.contest.tables import ContestEntry


@dataclass(frozen=True)
class ListedEntry:
    """An entry as `entries.json` of an export has it."""

    entry_id: str
    number: int
    entrant: str
    name: str
    role: str
    program_id: str
    words: int
    state: str = ""
    behaviour: str = ""  # as the database has it; not in the file

    @property
    def named(self) -> NamedEntry:
        return {"entry_id": self.entry_id, "number": self.number, "entrant": self.entrant, "name": self.name}


def listed(folder: Path) -> list[ListedEntry]:
    """The entries of an export."""
    rows = json.loads((folder / "entries.json").read_text(encoding="utf-8"))
    columns = ("entry_id", "number", "entrant", "name", "role", "program_id", "words")
    return [ListedEntry(**{column: row[column] for column in columns}) for row in rows]


def labels_by_arm(folder: Path, match_ids: Iterable[str]) -> dict[str, str]:
    """Arm → entry of an entrant, in these matches; empty if the folder is no contest's."""
    if not (folder / MARK).is_file():
        return {}
    entries: list[ListedEntry] | list[ContestEntry]
    if is_export(folder):
        entries = listed(folder)
    else:
        from sqlalchemy import select

        from arena.contest.tables import ContestDatabase, ContestEntry

        with ContestDatabase(folder).read() as connection:
            entries = list(connection.scalars(select(ContestEntry)))
    labels = {e.entry_id: entry_label(e.entrant, e.name) for e in entries if e.role == "program"}
    return {content_id("a", match_id, entry): label for match_id in match_ids for entry, label in labels.items()}
