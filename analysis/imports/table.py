"""Parses a log's lines: every line is a row, a header, blank, or quarantined with its number and the reason."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from analysis.imports.cells import is_missing
from analysis.imports.cells import number as number_in
from analysis.imports.json_records import JsonRecord, records_at, starts_json
from analysis.imports.layout import SAMPLE, Layout, from_cells, from_header, is_header
from analysis.imports.rows import ParsedRow, RowReader
from analysis.imports.text import UnreadableLog

LONGEST = 100_000  # characters of a row, at most
QUOTED = 300  # characters stored of a quarantined line
SEARCHED = 400  # lines in which a table has to begin
NAME = 40  # characters of the name of a column, at most
NO_METRIC = "a header without a column of numbers that could be the metric"
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
    reader: RowReader
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
    table = LogTable([], [], len(lines))
    first_line = next((line for line in lines if line and not line.isspace()), "")
    split, first = (_tabs, 0) if starts_json(first_line) else _find(lines)
    reading = _Reading(table, lines, split, wanted)
    number = 0
    while number < len(lines):
        line = lines[number]
        number += 1
        if not line or line.isspace():
            table.blanks += 1
        elif number <= first:
            _aside(table, number, "before the table", line)
        else:
            number = reading.take(number)
    if not table.sections:
        raise UnreadableLog(_no_metric(table))
    for section in table.sections:
        _without_grouped(table, section)
    return table


def _without_grouped(table: LogTable, section: TableSection) -> None:
    """Quarantines 1,234 where the metric of another row is 0,987: then no comma is one between thousands."""
    if line := section.reader.decimal_comma:
        reason = f"the comma in the metric may be a decimal one, as in line {line}"
        table.asides += [aside for row in section.rows if row.grouped for aside in set_aside(row, reason)]
        section.rows = [row for row in section.rows if not row.grouped]


def _no_metric(table: LogTable) -> str:
    first = next((aside for aside in table.asides if aside.reason.startswith(NO_METRIC)), None)
    what = f"line {first.line}: {first.reason}" if first else "nothing in it is a row of an experiment"
    return f"no results table: {what}"


class _Reading:
    """Takes the lines of a log in order. ``outside``: why the lines that follow belong to no table that is read."""

    def __init__(self, table: LogTable, lines: Sequence[str], split: Split, wanted: str | None) -> None:
        self.table, self.lines, self.split, self.wanted = table, lines, split, wanted
        self.reader: RowReader | None = None
        self.outside = ""

    def take(self, number: int) -> int:
        """Handles the line with this number, and those that belong to it. Returns the lines read so far."""
        line = self.lines[number - 1]
        if starts_json(line) and (end := self._json(number)):
            return end
        cells = self.split(line)
        reader = None if self.outside else self.reader
        row = reader.row(number, cells) if reader and len(line) <= LONGEST else None
        if isinstance(row, ParsedRow):
            self.table.sections[-1].rows.append(row)
        elif _rule(cells):
            self.table.blanks += 1
        elif is_header(cells) or self._unknown_header(number, cells):
            return self._header(number, cells)
        elif self.outside:
            _aside(self.table, number, self.outside, line)
        elif reader is None and (layout := from_cells(_sample(self.lines, number - 1, self.split, len(cells)))):
            self._begin(layout)
            return number - 1  # a table without a header begins with a row
        else:
            return _broken(self.table, reader, self.lines, number, self.split, row or "")
        return number

    def _header(self, number: int, cells: list[str]) -> int:
        layout = _new_layout(self.lines, number, cells, self.split, self.reader, self.wanted)
        if layout is None:
            self.outside = f"in a table without a metric, whose header is line {number}"
            _aside(self.table, number, NO_METRIC, self.lines[number - 1])
            return number
        self.table.headers += 1
        self._begin(layout)
        return number

    def _begin(self, layout: Layout) -> None:
        if self.reader is None or layout.names != self.reader.layout.names or self.outside:
            self.reader = RowReader(layout)
            self.table.sections.append(TableSection(layout, self.reader))
        self.outside = ""

    def _unknown_header(self, number: int, cells: list[str]) -> bool:
        """Whether a further table begins here, with columns of unknown names: its rows must not be read as others."""
        if self.reader is None or len(cells) < 2 or any(number_in(c) is not None or is_missing(c) for c in cells):
            return False
        following = self.split(self.lines[number]) if number < len(self.lines) else []
        if len(following) == len(cells) and _rule(following):
            return True
        before = self.lines[number - 2].strip() if number > 1 else ""
        apart = not before or len(cells) != self.reader.layout.width
        short = len(cells) > 2 and all(len(cell) <= NAME and cell.count(" ") < 3 for cell in cells)
        numbers = any(number_in(cell) is not None for cell in following)
        return apart and short and len(following) == len(cells) and numbers

    def _json(self, number: int) -> int:
        """Reads JSON from this line on, as rows if it has several objects that look like them; 0 if it is no JSON."""
        records, end, blanks = _json_block(self.lines, number)
        if end < number:
            return 0
        self.table.blanks += blanks
        names = list(dict.fromkeys(name for record in records for name in record.cells))
        layout = None
        if is_header(names) and (len(records) > 1 or not self.table.sections):
            sample = [[record.cells.get(name, "") for name in names] for record in records[:SAMPLE]]
            layout = from_header(names, number, sample, self.wanted)
        if layout is None:
            where = "JSON after the table" if self.table.sections else "JSON"
            for k in [k for record in records for k in range(record.line, record.line + record.lines)]:
                _aside(self.table, k, f"{where} (line {number}), not read as experiments", self.lines[k - 1])
            return end
        reader = RowReader(replace(layout, header=None))
        section = TableSection(reader.layout, reader)
        for record in records:
            row = reader.row(record.line, [record.cells.get(name, "") for name in names])
            if isinstance(row, ParsedRow):
                row.lines = record.lines
                section.rows.append(row)
            else:
                for k in range(record.line, record.line + record.lines):
                    _aside(self.table, k, row, self.lines[k - 1])
        self.table.sections.append(section)
        self.outside = "after JSON, and not a row of it"
        return end


def _json_block(lines: Sequence[str], number: int) -> tuple[list[JsonRecord], int, int]:
    """(the records that follow each other from this line on, the last line, the lines between them without any)."""
    records: list[JsonRecord] = []
    blanks, end = 0, number - 1
    while end < len(lines):
        line = lines[end].strip()
        more, count = ([], 1) if not line or line in ("]", "],") else records_at(lines, end + 1)
        if count == 0 or (line and not more and not records and line != "["):
            break
        records += more
        blanks += 0 if more else count
        end += count
    return (records, end, blanks) if records else ([], 0, 0)


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
    """The layout of a table whose header is this line; None without a metric."""
    if not is_header(cells):
        return None
    header = reader.layout.header if reader else None
    if reader and header and split(lines[header - 1]) == cells:
        return reader.layout  # a repeated header
    return from_header(cells, number, list(_sample(lines, number, split, len(cells))), wanted)


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
