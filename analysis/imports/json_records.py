"""Reads JSON in a log as records with cells: one object a line, objects over several lines, or an array of them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from trainer.values.metric_names import plain_name

if TYPE_CHECKING:
    from pydantic import JsonValue

_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
LONGEST_BLOCK = 2_000  # lines of one JSON value, at most
#: Columns that hold the settings of a row together; what one contains is no column of its own.
SETTINGS = frozenset(
    {"settings", "config", "params", "hyperparameters", "hyperparams", "hparams", "overrides", "edits", "edit"}
)


@dataclass(frozen=True)
class JsonRecord:
    """An object of the log. ``lines``: of the file; 0 for a further object on a line that is counted already."""

    line: int
    lines: int
    cells: Mapping[str, str]


def starts_json(line: str) -> bool:
    text = line.lstrip()
    return text.startswith("{") or (text.startswith("[") and text[1:].lstrip()[:1] in ("", "{"))


def records_at(lines: Sequence[str], number: int) -> tuple[list[JsonRecord], int]:
    """(the objects that begin on line ``number``, the number of lines they take); no lines if it is no JSON."""
    text = lines[number - 1].strip()
    if text in ("[", "]", "],", "{}"):
        return [], 1
    single = _parsed(text) or _parsed(text.strip("[],"))
    if single:
        return _records(single, number, 1), 1
    depth = _depth(text)
    for end in range(number, min(number + LONGEST_BLOCK, len(lines))):
        depth += _depth(lines[end])
        if depth <= 0:
            block = "\n".join(lines[number - 1 : end + 1]).strip()
            objects = _parsed(block) or _parsed(block.strip("[],\n "))
            return (_records(objects, number, end + 2 - number), end + 2 - number) if objects else ([], 0)
    return [], 0


def _depth(line: str) -> int:
    """Brackets that a line opens, less those that it closes; those in strings do not count."""
    bare = _STRING.sub("", line)
    return sum(bare.count(mark) for mark in "{[") - sum(bare.count(mark) for mark in "}]")


def _parsed(text: str) -> list[dict[str, JsonValue]]:
    """The objects in a JSON text: one, those of an array, or those of the only array of objects in one."""
    try:
        value: JsonValue = json.loads(text.rstrip(","))
    except (ValueError, RecursionError):
        return []
    if isinstance(value, dict):
        inner = [objects for part in value.values() if isinstance(part, list) and (objects := _objects(part))]
        return inner[0] if len(inner) == 1 and len(inner[0]) > 1 else [value]
    return _objects(value) if isinstance(value, list) else []


def _objects(items: Sequence[JsonValue]) -> list[dict[str, JsonValue]]:
    return [item for item in items if isinstance(item, dict)] if all(isinstance(i, dict) for i in items) else []


def _records(objects: Sequence[dict[str, JsonValue]], line: int, count: int) -> list[JsonRecord]:
    records = [JsonRecord(line, 0, _cells(item)) for item in objects]
    return [replace(records[0], lines=count), *records[1:]]


def _cells(item: Mapping[str, JsonValue]) -> dict[str, str]:
    """Names and cells of an object; an object within it adds its own names, but for settings, which stay together."""
    cells: dict[str, str] = {}
    for name, value in item.items():
        if isinstance(value, dict) and value and plain_name(name) not in SETTINGS:
            for inner, part in value.items():
                cells[inner if inner not in item and inner not in cells else f"{name}_{inner}"] = _cell(part)
        else:
            cells[name] = _cell(value)
    return cells


def _cell(value: JsonValue) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return " ".join(value.split())
    return json.dumps(value)
