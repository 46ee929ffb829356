"""What a row of an imported log changed, by its columns of settings, a cell of settings, its diff, or its words."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from analysis.imports.cells import is_missing
from analysis.imports.json_records import SETTINGS
from analysis.imports.words import tables
from trainer.edits import Knob, Value, read_value
from trainer.outcome import Status
from trainer.task import Task
from trainer.values import constants
from trainer.values.metric_names import plain_name
from trainer.values.roles import MEANINGS, ROLES, meaning

ORDINARY = frozenset({"noise", "order", "norm", "context", "act", "clip", "precision", "schedule"})
METRICS = frozenset({"loss"})  # with a number these were measured, unless the task has such a setting
SPARE_WORDS = 3  # words beside the settings in a description that still speaks of nothing else, at most
_NAME = r"`?(?<![\w.])([A-Za-z_@][\w.]*)`?"
_TOKEN = r"[^\s,;`()=<>→]"
_ENDS = r"(?!,\d)"  # 0,3 is no 0
_NUMBER = rf"[-+]?\.?\d{_TOKEN}*+{_ENDS}"
_VALUE = rf"""\([^()]*\)|\[[^][]*\]|"[^"]*"|'[^']*'|(?![=>])[^\s,;`()]++{_ENDS}"""
_SET = re.compile(rf"{_NAME}\s*(?:=|:=|→=)\s*`?({_VALUE})")
_FROM = rf"{_NAME}(?:\s*(?::=|[=:])\s*|\s+)(?:from\s+)?`?"
_ARROW = re.compile(rf"{_FROM}((?:(?!->){_TOKEN})+)`?\s*(?:->|→|=>)\s*`?({_TOKEN}++{_ENDS})")
_FROM_TO = re.compile(rf"{_FROM}({_NUMBER})`?\s+to\s+`?({_NUMBER})")
_TO = re.compile(rf"{_NAME}\s*(?:\bto|->|→|=>)\s+`?({_NUMBER})")
_UNREAD = re.compile(r"[=<>→]")  # in what is left of a text: a change that was not understood
_CHOICE = re.compile(r"[A-Za-z_][\w.^+-]*")  # a value that is no number
_WORD = re.compile(r"[^\W\d_]{2,}")
_CODE = re.compile(r"^[-+](?![-+]{2} )\s*(.*?)\s*$")


@dataclass(frozen=True)
class Changed:
    """``new``: role → value after the change, ``old``: role → value before it, where the row says it. ``unknown``:
    settings without a role, or whose value is unclear, as written. ``whole``: every setting of the script, not only
    those that changed."""

    new: Mapping[str, Value]
    old: Mapping[str, Value] = field(default_factory=dict)
    unknown: Mapping[str, str] = field(default_factory=dict)
    whole: bool = False


@dataclass(frozen=True)
class ImportedRow:
    """A row of an imported log. ``extra``: its further columns, as written; ``again``: the line of the row that it
    repeats."""

    line: int
    status: Status | None = None
    decision: str | None = None
    metric: float | None = None
    description: str | None = None
    diff: str | None = None
    extra: Mapping[str, str] | None = None
    again: int | None = None
    step_gain: float | None = None


Reading = Callable[[ImportedRow], Changed | None]


class RoleNames:
    """Name of a setting → role and value: by the knobs of a task, or by the names of roles and usual short forms."""

    def __init__(self, task: Task | None) -> None:
        self._knobs: dict[str, Knob] = {}
        words: Mapping[str, Sequence[str]] = tables()["roles"]
        self._roles = {name: name for name in ROLES} | {name: role for role, names in words.items() for name in names}
        self._names = set(self._roles)
        if task is not None:
            by_role = {knob.role: knob for knob in reversed(task.edits.knobs) if knob.role}
            self._knobs = by_role | {plain_name(knob.name): knob for knob in task.edits.knobs}
            self._roles = {}

    def is_setting(self, name: str) -> bool:
        """Whether this is the name of a setting, though perhaps of one without a role."""
        key = plain_name(name.lstrip("@"))
        return key in self._knobs or key in self._names

    def read(self, name: str, text: object) -> tuple[str, Value] | None:
        """(role, value) of a setting as written; None without a role, or where the value is no value of its kind."""
        key, value = plain_name(name.lstrip("@")), _value(text)
        if not (_CHOICE.fullmatch(value) if isinstance(value, str) else math.isfinite(value)):
            return None
        knob = self._knobs.get(key)
        role = knob.role if knob else self._roles.get(key, "")
        number = knob is not None and knob.kind in ("float", "int")
        words = all(isinstance(v, str) for v in knob.values) if knob and knob.kind == "choice" else role in MEANINGS
        if not role or (isinstance(value, str | bool) if number else words and not isinstance(value, str)):
            return None
        if knob and knob.kind == "float":
            value = float(value)
        return role, meaning(role, value)

    def _was_measured(self, name: str, text: object) -> bool:
        key = plain_name(name.lstrip("@"))
        return key in METRICS and not isinstance(_value(text), str) and self.read(name, text) is None

    def changed(self, items: Iterable[tuple[str, object]], *, whole: bool = False) -> Changed:
        new: dict[str, Value] = {}
        unknown: dict[str, str] = {}
        for name, text in items:
            if self._was_measured(name, text):
                continue
            meant = self.read(name, text)
            if meant is None or new.setdefault(*meant) != meant[1]:
                unknown[name] = str(text)
        return Changed(new, {}, unknown, whole)


def _value(text: object) -> Value:
    """A value as written, without the full stop of a sentence."""
    return text if isinstance(text, bool | int | float) else read_value(str(text).rstrip(".:!?"))


def readings(names: RoleNames, rows: Sequence[ImportedRow]) -> list[Reading]:
    """The ways to read what the rows of a run changed, the most reliable one first."""
    columns = [name for name in dict.fromkeys(n for row in rows for n in row.extra or ()) if names.is_setting(name)]
    cells = [items for row in rows if (items := _settings(row)) is not None]
    keys = {frozenset(name for name, _ in items) for items in cells}
    whole = len(keys) == 1 and len(cells) >= len(rows) - 1 and len(cells) > 1
    return [
        lambda row: None if (items := _settings(row)) is None else names.changed(items, whole=whole),
        lambda row: _of_columns(names, columns, row),
        lambda row: _of_diff(names, row.diff),
        lambda row: _of_words(names, row.description or ""),
    ]


def _of_columns(names: RoleNames, columns: Sequence[str], row: ImportedRow) -> Changed | None:
    extra = row.extra or {}
    given = [(name, extra[name]) for name in columns if not is_missing(extra.get(name, ""))]
    return names.changed(given, whole=True) if given else None


def _settings(row: ImportedRow) -> list[tuple[str, object]] | None:
    """The settings in a cell of their own, as JSON or as NAME=VALUE; None without such a cell."""
    cell = next((cell for name, cell in (row.extra or {}).items() if name in SETTINGS and not is_missing(cell)), None)
    if cell is None:
        return None
    if cell.lstrip().startswith("{"):
        try:
            cell_value = json.loads(cell)
        except (ValueError, RecursionError):
            return None
        return [(str(name), value) for name, value in cell_value.items()] if isinstance(cell_value, dict) else None
    if re.search(rf"\d|{_UNREAD.pattern}", _SET.sub(" ", cell)):
        return None
    return _SET.findall(cell) or None


def _of_diff(names: RoleNames, diff: str | None) -> Changed | None:
    """The constants that a diff changes; None if it changes anything else, too."""
    if not diff:
        return None
    removed, added = dict[str, object](), dict[str, object]()
    for line in diff.splitlines():
        code = _CODE.match(line)
        if code is None or not code[1] or code[1].startswith("#"):
            continue
        altered = constants.read(code[1])
        if len(altered) != 1:
            return None
        (added if line[0] == "+" else removed).update(altered)
    if not added or added.keys() != removed.keys():
        return None
    new, old = names.changed(added.items()), names.changed(removed.items())
    return Changed(new.new, old.new, {**old.unknown, **new.unknown})


def _of_words(names: RoleNames, text: str) -> Changed | None:
    """NAME=VALUE, NAME to VALUE and NAME OLD -> NEW in a description that speaks of little else."""
    matches: list[list[tuple[str, ...]]] = []  # name, perhaps old value, new value
    rest = text
    for pattern in (_ARROW, _FROM_TO, _SET, _TO):
        matches.append(pattern.findall(rest))
        rest = pattern.sub(" ", rest)
    arrows, terms = matches[0] + matches[1], matches[2] + matches[3]
    figures = [term for term in arrows + matches[3] if not isinstance(read_value(term[-1]), str)]
    if any(term[0].lower() in ORDINARY for term in figures):
        return None  # of a setting, or of something that was measured
    filler = frozenset(tables()["filler"]["words"])
    if _UNREAD.search(rest) or len([w for w in _WORD.findall(rest.lower()) if w not in filler]) > SPARE_WORDS:
        return None
    if any(isinstance(read_value(old), str) != isinstance(read_value(new), str) for _, old, new in arrows):
        return None  # lr=0.1 -> better
    new = names.changed((term[0], term[-1]) for term in [*terms, *arrows])
    old = names.changed((term[0], term[1]) for term in arrows)
    return Changed(new.new, old.new, new.unknown) if new.new else None
