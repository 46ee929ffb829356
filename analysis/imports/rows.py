"""Parses one line of a table into a row (metric, status, description), or gives the reason why not."""

from __future__ import annotations

from dataclasses import dataclass, field

from analysis.imports.cells import is_decimal_comma, is_missing, number
from analysis.imports.layout import Layout
from analysis.imports.words import StatusMeaning, failure, meaning, said_direction

GB, MINUTE = 1024.0, 60.0
_EMPTY: dict[str, str] = {}
_MEASURES = {  # role → (attribute of a row, its unit; None for a whole number)
    "memory_gb": ("memory_mb", GB),
    "memory_mb": ("memory_mb", 1.0),
    "minutes": ("seconds", MINUTE),
    "seconds": ("seconds", 1.0),
    "seed": ("seed", None),
    "steps": ("steps", None),
    "before": ("before", 1.0),
    "delta": ("delta", 1.0),
}


@dataclass(slots=True)
class ParsedRow:
    """A row of the log. ``value``: the metric as written, None for a missing value."""

    line: int
    value: float | None
    status: str | None
    decision: str | None
    word: str  # the status as written
    description: str
    commit: str
    name: str | None = None  # of the metric, if each row names its own
    direction: str | None = None
    memory_mb: float | None = None
    seconds: float | None = None
    seed: int | None = None
    steps: int | None = None
    before: float | None = None
    delta: float | None = None
    extra: dict[str, str] = field(default_factory=lambda: _EMPTY)
    lines: int = 1  # of the file
    grouped: bool = False  # a comma in the metric was read as one between thousands


class RowReader:
    """Reads the rows of one layout."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.decimal_comma = 0  # a line whose metric has one
        at = layout.at
        self._metric = at["metric"]
        self._status = at.get("status")
        self._description = at.get("description")
        self._commit = at.get("commit", at.get("number"))
        self._name, self._direction = at.get("metric_name"), at.get("direction")
        self._least = max(self._metric, -1 if self._status is None else self._status) + 1
        self._last_is_text = self._description == layout.width - 1
        self._measures = [(name, at[role], unit) for role, (name, unit) in _MEASURES.items() if role in at]

    def row(self, line: int, cells: list[str]) -> ParsedRow | str:
        """The row, or the reason why this line is not one."""
        width = self.layout.width
        if len(cells) != width:
            cells = self._fitted(cells)
            if len(cells) < self._least or len(cells) > width:
                return f"{len(cells)} field{'s' if len(cells) > 1 else ''} where the table has {width}"
        written = cells[self._metric].strip()
        value = number(written)
        if is_decimal_comma(written):
            self.decimal_comma = line
        word = _cell(cells, self._status)
        said = meaning(word) if word else None
        if value is None and (said is None or said.status == "ok") and (failed := failure(written)):
            said = failed if said is None else StatusMeaning(failed.status, said.decision)
        if value is None and not is_missing(written):
            if said is None or said.status in (None, "ok"):
                return f"the metric {written[:40]!r} is not a number"
        elif value is None and said is None:
            return "neither a metric nor a known status"
        elif len(word) > 60 and said is None:
            return "the status is unknown and too long"
        return self._made(line, cells, value, word, said)

    def _made(
        self, line: int, cells: list[str], value: float | None, word: str, said: StatusMeaning | None
    ) -> ParsedRow:
        status, decision = said or (None, None)
        row = ParsedRow(
            line, value, status, decision, word, _cell(cells, self._description), _cell(cells, self._commit)
        )
        row.grouped = value is not None and "," in cells[self._metric]
        for name, column, unit in self._measures:
            measured = number(_cell(cells, column))
            if measured is not None and (unit is not None or abs(measured) <= 2**53):
                setattr(row, name, int(measured) if unit is None else measured * unit)
        if self._name is not None:
            row.name = _cell(cells, self._name) if self._name < len(cells) else None
        if self._direction is not None:
            row.direction = said_direction(_cell(cells, self._direction))
        if self.layout.extra:
            row.extra = {name: cell for column, name in self.layout.extra if (cell := _cell(cells, column))}
        return row

    def _fitted(self, cells: list[str]) -> list[str]:
        """Drops empty cells beyond the table's width, and joins a description that contains the separator."""
        width = self.layout.width
        while len(cells) > width and not cells[-1].strip():
            cells = cells[:-1]
        if len(cells) > width and self._last_is_text:
            cells = [*cells[: width - 1], " ".join(cells[width - 1 :])]
        return cells


def _cell(cells: list[str], column: int | None) -> str:
    return "" if column is None or column >= len(cells) else cells[column].strip()
