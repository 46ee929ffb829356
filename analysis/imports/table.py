"""Parses a log's lines: every line is a row, a header, blank, or quarantined with its number and the reason."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from analysis.imports.layout import SAMPLE, Layout, from_cells, from_header, is_header
from analysis.imports.rows import ParsedRow, RowReader
from analysis.imports.text import UnreadableLog

LONGEST = 100_000  # characters of a row, at most
QUOTED = 300  # characters stored of a quarantined line
SEARCHED = 400  # lines in which a table has to begin
JOINED = 60  # lines of one row with line breaks in its fields, at most


@dataclass(frozen=True)
class Aside:
    """A quarantined line: not a row, or unreadable."""

    line: int
    reason: str
    text: str


@dataclass
class TableSection:
    """The rows under one header (or under none)."""

    layout: Layout
    rows: list[ParsedRow] = field(default_factory=list)


@dataclass
class LogTable:
    """The content of a file. lines = rows' lines + asides + headers + blanks + rules, each line in one of them."""

    sections: list[TableSection]
    asides: list[Aside]
    lines: int = 0
    headers: int = 0
    blanks: int = 0  # and rules of markdown tables

    @property
    def rows(self) -> int:
        return sum(len(section.rows) for section in self.sections)


Split = Callable[[str], list[str]]


def read_table(lines: Sequence[str], wanted: str | None = None) -> LogTable:
    """Reads the lines of a log. ``wanted``: the user's metric column. Raises UnreadableLog without a table."""
    split, first = _find(lines)
    table = LogTable([], [], len(lines))
    reader: RowReader | None = None
    number = 0
    while number < len(lines):
        line = lines[number]
        number += 1
        if not line or line.isspace():
            table.blanks += 1
            continue
        if number <= first:
            _aside(table, number, "before the table", line)
            continue
        cells = split(line)
        row = reader.row(number, cells) if reader and len(line) <= LONGEST else None
        if isinstance(row, ParsedRow):
            table.sections[-1].rows.append(row)
        elif _rule(cells):
            table.blanks += 1
        elif (layout := _new_layout(lines, number, cells, split, reader, wanted)) is not None:
            table.headers += layout.header is not None
            if reader is None or layout.names != reader.layout.names:
                table.sections.append(TableSection(layout))
                reader = RowReader(layout)
            if layout.header is None:
                number -= 1  # a table without a header begins with a row
        else:
            number = _broken(table, reader, lines, number, split, row or "")
    return table


def _aside(table: LogTable, line: int, reason: str, text: str) -> None:
    table.asides.append(Aside(line, reason, text[:QUOTED]))


def _broken(
    table: LogTable, reader: RowReader | None, lines: Sequence[str], number: int, split: Split, reason: str
) -> int:
    """Handles a line that is not a row: the start of a row with line breaks, or quarantined. Returns the lines read."""
    line = lines[number - 1]
    if len(line) > LONGEST:
        _aside(table, number, f"longer than {LONGEST:,} characters", line)
        return number
    joined = _joined(reader, lines, number, split) if reader else None
    if joined is not None:
        table.sections[-1].rows.append(joined)
        return number + joined.lines - 1
    _aside(table, number, reason or "not a row of the table", line)
    return number


def _joined(reader: RowReader, lines: Sequence[str], number: int, split: Split) -> ParsedRow | None:
    """The row that begins at ``number`` and continues in the next lines, if it is then complete."""
    cells = split(lines[number - 1])
    if not 2 <= len(cells) < reader.layout.width:
        return None
    last = min(number + JOINED, len(lines))
    for end in range(number, last):
        more = split(lines[end])
        if isinstance(reader.row(end + 1, more), ParsedRow):
            return None  # the next row begins: this one is incomplete
        cells = [*cells[:-1], f"{cells[-1]}\n{more[0]}", *more[1:]]
        if len(cells) >= reader.layout.width:
            row = reader.row(number, cells)
            if isinstance(row, ParsedRow):
                row.lines = end - number + 2
                return row
            return None
    return None


def _find(lines: Sequence[str]) -> tuple[Split, int]:
    """(function that splits lines into cells, lines before the table). Raises UnreadableLog without a table."""
    head = [(i, line) for i, line in enumerate(lines[:SEARCHED]) if line and not line.isspace() and len(line) < LONGEST]
    for split in SPLITS:
        for index, line in head:
            if is_header(split(line)):
                return split, index
    for split in SPLITS[:3]:
        for index, line in head:
            cells = split(line)
            if len(cells) > 2 and from_cells(_sample(lines, index, split, len(cells))) is not None:
                return split, index
    raise UnreadableLog("no results table: no header with a metric, and no rows that look like results")


def _new_layout(
    lines: Sequence[str], number: int, cells: list[str], split: Split, reader: RowReader | None, wanted: str | None
) -> Layout | None:
    """The layout of a table that begins with this line, if any."""
    if is_header(cells):
        header = reader.layout.header if reader else None
        if reader and header and split(lines[header - 1]) == cells:
            return reader.layout  # a repeated header
        return from_header(cells, number, list(_sample(lines, number, split, len(cells))), wanted)
    if reader is None:
        return from_cells(_sample(lines, number - 1, split, len(cells)))
    return None


def _sample(lines: Sequence[str], start: int, split: Split, width: int) -> list[list[str]]:
    """The next rows of about the same width."""
    rows: list[list[str]] = []
    for line in lines[start : start + 4 * SAMPLE]:
        if line and len(line) < LONGEST and not line.isspace():
            cells = split(line)
            if is_header(cells):
                break
            if width - 1 <= len(cells) <= width + 1:
                rows.append(cells)
        if len(rows) >= SAMPLE:
            break
    return rows


def _rule(cells: Sequence[str]) -> bool:
    """A line like ``|---|:--:|`` or ``=====``."""
    return all(not cell.strip(" -:=+|") for cell in cells) and any("--" in c or "==" in c for c in cells)


def _tabs(line: str) -> list[str]:
    if "\t" not in line and line.count("\\t") >= 2:  # written by an echo without escape support
        line = line.replace("\\t", "\t")
    return line.split("\t")


def _pipes(line: str) -> list[str]:
    line = line.strip()
    return [cell.strip() for cell in line.strip("|").split("|")] if line.startswith("|") else [line]


def _commas(line: str) -> list[str]:
    try:
        return next(csv.reader([line]), [line])
    except csv.Error:
        return [line]


def _blanks(line: str) -> list[str]:
    return [part for part in line.strip().split("  ") if part.strip()]


SPLITS: tuple[Split, ...] = (_tabs, _pipes, _commas, lambda line: line.split(";"), _blanks)


def set_aside(row: ParsedRow, reason: str) -> list[Aside]:
    """Quarantines a row that cannot be used, with an entry for each of its lines."""
    text = "\t".join(("" if row.value is None else f"{row.value:g}", row.word, row.commit, row.description))
    rest = [Aside(row.line + k, f"belongs to line {row.line}", "") for k in range(1, row.lines)]
    return [Aside(row.line, reason, text[:QUOTED]), *rest]


def each_row(table: LogTable) -> Iterator[tuple[Layout, ParsedRow]]:
    for section in table.sections:
        for row in section.rows:
            yield section.layout, row
