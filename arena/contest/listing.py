"""The entries of a contest's folder or of its export, for the commands that read either as a study."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis.study import read_study
from arena.contest.settings import MARK, ContestConfig, is_export
from arena.contest.stored import NamedEntry, entry_label
from arena.private import ANNOUNCED
from programs.errors import Corrupt
from programs.ids import content_id

if TYPE_CHECKING:
    from arena.contest.tables import ContestEntry
    from arena.study import Study

BESIDE = ("state", "device_seconds")
TOLERANCE = 1e-9  # relative: libraries of other versions sum in another order


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
    state: str = ""  # at the decision; it may have changed since

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


def recompute(study: Study) -> int:
    """Compute every figure of an export's announcement from its ledger again, which also says who took part and who was
    left out; how many were the same. Raises Corrupt at the first other one."""
    from arena.contest.ranking.decision import figures
    from arena.contest.running.arms import CONFIRMATION
    from arena.task_study import tasks_of

    folder, state = study.folder, study.state
    said = json.loads((folder / ANNOUNCED).read_text(encoding="utf-8"))
    names = {entry.entry_id: entry for entry in listed(folder)}
    match_id = content_id("m", study.config.study_id, CONFIRMATION)
    by_arm = {content_id("a", match_id, one.entry_id): one for one in state.entries.values()}
    with read_study(folder, views=[]) as con:
        void = {arm for (arm,) in con.execute("FROM void_arms()").fetchall()}
    entries: list[ListedEntry] = []
    gone: set[int] = set()
    for arm in state.matches[match_id].arms:
        one = by_arm[arm.arm_id]
        if (named := names.get(one.entry_id)) is None:
            raise Corrupt(f"entries.json lacks the entry number {one.number}, a leader", hint="ask the host")
        entries.append(replace(named, number=one.number, role=one.role, program_id=one.program_id))
        if arm.arm_id in void:
            gone.add(one.number)
    found = figures(ContestConfig.read(folder), tasks_of(study)[0], entries, gone)
    theirs, ours = flat({key: said.get(key) for key in found}), flat(found)
    for name in sorted(ours.keys() | theirs.keys()):
        first, other = theirs.get(name), ours.get(name)
        near = isinstance(first, float) and isinstance(other, float) and math.isclose(first, other, rel_tol=TOLERANCE)
        if first != other and not near:
            raise Corrupt(f"{ANNOUNCED} says {name} = {first!r}; its ledger gives {other!r}", hint="ask the host")
    return len(ours)


def flat(value: Any, name: str = "") -> dict[str, Any]:
    """The values of nested tables and lists by their paths, as `rows.0.gain`; not the state of an entry, which the
    host may have changed since, and no price in device-seconds, which depends on what was measured on the machine."""
    if not isinstance(value, (dict, list, tuple)):
        return {name[1:]: value}
    inner = value.items() if isinstance(value, dict) else enumerate(value)
    parts = [flat(each, f"{name}.{key}") for key, each in inner if key not in BESIDE]
    return {key: each for part in parts for key, each in part.items()}
