"""The entries of a contest's folder or of its export, for the commands that read either as a study."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import select

from arena.contest.database import Database
from arena.contest.settings import MARK, is_export
from arena.contest.stored import STOCK, entry_label
from arena.contest.tables import ContestEntry, EntryParent
from arena.private import ANNOUNCED
from programs.ids import content_id


@dataclass(frozen=True)
class ListedEntry:
    """An entry under its name on the board; ``parent``: number of the one that it is based on; ``raced``: mean gain,
    standard error and number of the runs that decided, if it took part."""

    number: int
    entry_id: str
    program_id: str
    label: str
    role: str
    void: bool
    parent: int | None
    raced: tuple[float | None, float | None, int] | None


def listed_entries(folder: Path) -> list[ListedEntry]:
    """In order of arrival; empty if the folder is no contest's."""
    if not (folder / MARK).is_file():
        return []
    if is_export(folder):
        rows = json.loads((folder / "entries.json").read_text(encoding="utf-8"))
        decision = folder / ANNOUNCED
        said = json.loads(decision.read_text(encoding="utf-8")) if decision.is_file() else {}
    else:
        said = Database(folder).fact("announcement")
        with Database(folder).read() as connection:
            above = {one.number: one.parent for one in connection.scalars(select(EntryParent))}
            entries = connection.scalars(select(ContestEntry).order_by(ContestEntry.number)).all()
        columns = ("program_id", "role", "state")
        rows = [
            {**e.named, **{key: getattr(e, key) for key in columns}, "parent": above.get(e.number)} for e in entries
        ]
    raced = {row["number"]: (row["gain"], row["se"], row["n"]) for row in said.get("rows", ())}
    return [
        ListedEntry(
            row["number"],
            row["entry_id"],
            row["program_id"],
            STOCK.get(row["role"]) or entry_label(row["entrant"], row["name"]),
            row["role"],
            row["state"] == "void",
            row["parent"],
            raced.get(row["number"]),
        )
        for row in rows
    ]


def labels_by_arm(folder: Path, match_ids: Iterable[str]) -> dict[str, str]:
    """Arm → entry of an entrant, in these matches."""
    entries = [entry for entry in listed_entries(folder) if entry.role == "program"]
    return {content_id("a", match_id, entry.entry_id): entry.label for match_id in match_ids for entry in entries}
