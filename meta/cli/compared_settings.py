"""The settings in which two studies differ."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, cast

from analysis.wording import listed, many

if TYPE_CHECKING:
    from meta.cli.board import StudyView

LONGEST, MOST_PARTS = 120, 40  # characters of a value, entries of a table that is taken apart
NO_SETTINGS = ("created_at", "schema", "secret", "programs", "ledger", "seed")  # and ids
NONE = "–"


@dataclass(frozen=True)
class ComparedSetting:
    """``values``: of each study as text, a dash where it has none."""

    name: str
    values: tuple[str, ...]
    differs: bool


def settings(boards: Sequence[StudyView]) -> list[ComparedSetting]:
    """The settings that can change a result, those that differ first: without ids, times and the folders of paths.

    The last row has what a study draws at random: its seed, and the held-out task of its family."""
    from meta.steering import kinds

    known = [in_parts(cast("Mapping[str, Any]", board.config)) | {"programs": started(board)} for board in boards]
    rows = [_row(name, [each.get(name) for each in known]) for name in sorted({n for each in known for n in each})]
    rows.append(_row("given while it ran (steer)", [kinds(board.steered.values()) for board in boards]))
    drawn = tuple(_drawn(cast("Mapping[str, Any]", board.config)) for board in boards)
    rows.append(ComparedSetting("seed", drawn, len(set(drawn)) > 1))
    return sorted(rows, key=lambda row: (not row.differs, row.name == "seed", row.name))


def in_parts(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Settings by their path in the record."""
    parts: dict[str, Any] = {}
    for name, value in config.items():
        if name in NO_SETTINGS or name.endswith("_id"):
            continue
        if isinstance(value, Mapping) and len(value) < MOST_PARTS:
            parts |= in_parts(value, f"{prefix}{name}.")
        elif isinstance(value, list):
            parts[prefix + name] = [_entry(each) for each in value if not _is_variant(each)]
        else:
            parts[prefix + name] = _entry(value)
    return parts


def _entry(value: Any) -> Any:
    """A task by its name, a path by its last part, anything else as it is."""
    if isinstance(value, Mapping):
        value = value.get("task") or json.dumps(dict(value), default=str)
    return PurePath(value).name if isinstance(value, str) and value.startswith("/") else value


def _is_variant(value: Any) -> bool:
    return isinstance(value, Mapping) and bool(value.get("variant"))


def _drawn(config: Mapping[str, Any]) -> str:
    variants = [_entry(each) for each in config.get("reserve") or () if _is_variant(each)]
    seed = config.get("seed")
    return ", ".join(["random" if seed is None else str(seed), *(f"held-out task {name}" for name in variants)])


def started(board: StudyView) -> list[str]:
    """The programs that the study began with; the beginning of an id separates different texts of one name."""
    events = cast("Mapping[str, Mapping[str, Any]]", board.programs)
    return [f"{e.get('name')} ({i[:7]})" for i, e in events.items() if e.get("operator") == "starter"]


def _row(name: str, values: Sequence[Any]) -> ComparedSetting:
    differs = any(value != values[0] for value in values)
    return ComparedSetting(name, tuple(_shown(value, values if differs else ()) for value in values), differs)


def _shown(value: Any, beside: Sequence[Any]) -> str:
    """A value as text; of lists that differ, the entries that are not in all."""
    if value in (None, "", [], {}):
        return NONE
    if isinstance(value, list):
        in_all = [each for each in value if all(isinstance(b, list) and each in b for b in beside)]
        own = [each for each in value if each not in in_all] if beside else value
        text = listed(map(str, own)) if own else many(len(value), "entry")
    else:
        text = f"{value:.10g}" if isinstance(value, float) else str(value)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
