"""Reads a log into tables: tab- or comma-separated, markdown, JSON. Each line is a row, a header, blank or set aside.

The cells are split by `csv` and `json`, not by DuckDB's sniffer, which drops the cells that a row has more than its
header, reads a second header as a row, and joins three lines to one at an odd quote.
"""

from __future__ import annotations

import csv
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from analysis.imports.cells import is_missing, meaning, number, role
from programs.common.errors import Corrupt
from programs.common.files import read_regular
from trainer.values.metric_names import named_direction, plain_name

if TYPE_CHECKING:
    from pydantic import JsonValue

MOST_BYTES = 64 << 20
MOST_CELLS, MOST_COLUMNS, MOST_TABLES = 4_000_000, 500, 1_000  # of a log; no honest one comes near
MOST_SAID = 10_000  # lines of text that may say which direction is better
QUOTED = 300  # characters stored of a line that is set aside
NAME = 60  # characters of a column's name, at most
_VALUE = re.compile(r"[^\s,]")  # where a JSON value begins
PART = "import a part of it"
SEPARATORS = ("\t", "|", ";", ",")
CONFIGURED = ("metric_name", "direction")  # roles of what a configuration states for the rows below it
_DECODER = json.JSONDecoder()


class UnreadableLog(Exception):
    """A log, or a repository, that cannot be read; the message says why, and ``hint`` which flag answers it."""

    def __init__(self, reason: str, hint: str = "") -> None:
        super().__init__(reason)
        self.hint = hint


@dataclass(frozen=True)
class Aside:
    """A line that is no row."""

    line: int
    reason: str
    text: str


@dataclass
class LogTable:
    """The rows under one header: (line, cells). ``title``: the text before it. ``metric``: its name, where a column has
    it."""

    names: list[str]
    title: str = ""
    rows: list[tuple[int, list[str]]] = field(default_factory=list)
    metric: str = ""


@dataclass
class LogText:
    """The content of a file. ``said``: its lines of text, in order."""

    tables: list[LogTable] = field(default_factory=list)
    asides: list[Aside] = field(default_factory=list)
    said: list[str] = field(default_factory=list)


def read_log(path: Path) -> LogText:
    """The tables of a file. Raises UnreadableLog if there is none."""
    return log_of_text(decoded(read_bytes(path)))


def read_bytes(path: Path) -> bytes:
    """The content of a log's file. Raises UnreadableLog if it cannot be read, or is too large."""
    try:
        return read_regular(path, MOST_BYTES)
    except (OSError, Corrupt) as error:
        raise UnreadableLog(getattr(error, "strerror", "") or str(error).removeprefix(f"{path}: ")) from None


def log_of_text(text: str) -> LogText:
    """The tables of a text. Raises UnreadableLog if there is none."""
    log = _json_log(text) if text.lstrip()[:1] in ("{", "[") else None
    return log or _delimited_log(text.replace("\r\n", "\n").split("\n" if "\n" in text else "\r"))


def decoded(data: bytes) -> str:
    """The text of a log's bytes. Raises UnreadableLog for binary data."""
    if data.startswith(b"version https://git-lfs"):
        raise UnreadableLog("a Git LFS pointer: the file itself is not here")
    encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError:
        raise UnreadableLog("not text in UTF-8") from None
    if "\0" in text:
        raise UnreadableLog("binary data")
    return text


# -- lines ---------------------------------------------------------------------------------------------------------


def _delimited_log(lines: Sequence[str]) -> LogText:
    if not any("\t" in line for line in lines):  # written by an echo without escapes
        lines = [line.replace("\\t", "\t") for line in lines]
    separator = _separator(lines)
    log, apart, before = LogText(), True, ""  # apart: a blank line or text was read since the last row
    records = list(_records(lines, separator))
    for index, (line, cells) in enumerate(records):
        table = log.tables[-1] if log.tables else None
        filled = [cell for cell in cells if cell]
        if not filled or all(not cell.strip("-:=+ ") for cell in filled):
            apart = apart or not filled
        elif len(cells) == 1:
            before, apart = cells[0].strip("#*_> "), True
            log.said += [cells[0]] * (len(log.said) < MOST_SAID)
            log.asides.append(Aside(line, "no row of the table", cells[0][:QUOTED]))
        elif _is_header(cells, records[index + 1 : index + 3], table, apart):
            if table is None or table.names != cells or before:
                log.tables.append(LogTable(cells, before))
                if len(log.tables) > MOST_TABLES:
                    raise UnreadableLog(f"more than {MOST_TABLES:,} headers", "import its tables one by one")
            before = ""
        elif table is None:
            log.asides.append(Aside(line, "before the table", separator.join(cells)[:QUOTED]))
        else:
            table.rows.append((line, cells))
            apart, before = False, ""
    if not log.tables:
        raise UnreadableLog(
            "no line is a header above rows with numbers",
            "the first line has to name the columns, such as: commit val_bpb memory_gb status description",
        )
    for table in log.tables:
        _fit(table, log, separator)
    return log


def _separator(lines: Sequence[str]) -> str:
    """The one that most lines have; a table of markdown goes before text with commas."""
    if any("|" in line and "--" in line and set(line) <= set(" \t:|-") for line in lines):
        return "|"
    return max(SEPARATORS, key=lambda mark: sum(mark in line for line in lines))


def _records(lines: Sequence[str], separator: str) -> Iterator[tuple[int, list[str]]]:
    """(line, its cells), of a quoted cell with line breaks the first line; text is one cell."""
    if separator in "\t|":
        for number_, line in enumerate(lines, 1):
            row = line.strip().strip("|") if separator == "|" else line
            is_text = separator == "|" and not line.lstrip().startswith("|")
            cells = [line] if is_text else re.split(r"(?<!\\)\|", row) if separator == "|" else row.split(separator)
            yield number_, [_unquoted(cell.strip()) for cell in cells]
        return
    reader, before = csv.reader((f"{line}\n" for line in lines), delimiter=separator, skipinitialspace=True), 0
    try:
        for cells in reader:
            yield before + 1, [cell.strip() for cell in cells]
            before = reader.line_num
    except csv.Error as error:
        raise UnreadableLog(f"line {reader.line_num}: {error}") from None


def _unquoted(cell: str) -> str:
    quoted = len(cell) > 1 and cell[0] == cell[-1] == '"'
    return cell[1:-1].replace('""', '"') if quoted else cell


def _is_header(
    cells: Sequence[str], following: Sequence[tuple[int, list[str]]], table: LogTable | None, apart: bool
) -> bool:
    """Two names that logs use; or names alone, apart from the rows of ``table``, and numbers below them."""
    names = [cell for cell in cells if cell]
    if any(number(cell) is not None or is_missing(cell) or len(cell) > NAME for cell in names) or len(names) < 2:
        return False
    if sum(_is_known(cell) for cell in names) > 1:
        return True
    if any(meaning(cell) for cell in names) or not (table is None or apart or len(cells) != len(table.names)):
        return False
    below = [row for _, row in following if len(row) == len(cells) or (table is None and len(row) > len(cells))]
    return any(number(cell) is not None for row in below for cell in row)


def _is_known(cell: str) -> bool:
    name = plain_name(re.sub(r"\([^()]*\)", "", cell))
    return bool(role(name)) or (cell.count(" ") < 3 and named_direction(name)[0] is not None)


def require_cells(rows: int, columns: int) -> None:
    """Raises UnreadableLog for more columns, or cells, than a log may have."""
    if columns > MOST_COLUMNS or rows * columns > MOST_CELLS:
        most = f"more than {MOST_COLUMNS} columns or {MOST_CELLS:,} cells"
        raise UnreadableLog(f"{rows:,} rows and {columns:,} columns: {most}", PART)


def _fit(table: LogTable, log: LogText, separator: str) -> None:
    """Gives all rows the header's width; a separator in a description at the end belongs to it."""
    width = len(table.names)
    require_cells(len(table.rows), width)
    wide = [len(cells) for _, cells in table.rows if len(cells) > width]
    if len(wide) > len(table.rows) / 2:
        raise UnreadableLog(
            f"the rows have more cells ({max(wide)}) than the header ({width})", "name every column in the first line"
        )
    fitted, ends_in_text = [], role(plain_name(table.names[-1])) == "description"
    for line, cells in table.rows:
        if len(cells) > width and ends_in_text:
            cells = [*cells[: width - 1], separator.join(cells[width - 1 :])]
        if len(cells) > width or (len(cells) < width and len(cells) < 3):
            reason = f"{len(cells)} cells, the header has {width}"
            log.asides.append(Aside(line, reason, separator.join(cells)[:QUOTED]))
        else:
            fitted.append((line, cells + [""] * (width - len(cells))))
    table.rows = fitted


# -- JSON ----------------------------------------------------------------------------------------------------------


def _json_log(text: str) -> LogText | None:
    """All objects, one a line or not, or in one array; None if it is no JSON. An object of the type `config`, which
    states the metric and its direction, begins another table."""
    log, segments = LogText(), [("", dict[str, str](), list[tuple[int, dict[str, str]]]())]
    if text.count("{") + text.count("[") > MOST_CELLS:
        raise UnreadableLog(f"more than {MOST_CELLS:,} objects and lists", PART)
    at, counted, line, read_again = 0, 0, 1, 0
    while match := _VALUE.search(text, at):
        start = match.start()
        line, counted = line + text.count("\n", counted, start), start
        try:
            value, at = _DECODER.raw_decode(text, start)
            for offset, item in _objects(text, start, value):
                line, counted = line + text.count("\n", counted, offset), offset
                record = dict(_flat(item))
                settings = {name: cell for name, cell in record.items() if role(plain_name(name)) in CONFIGURED}
                if settings and record.get("type") == "config":
                    segments.append((record.get("name", ""), settings, []))
                else:
                    segments[-1][2].append((line, segments[-1][1] | record))
        except (ValueError, RecursionError) as error:
            read_again += getattr(error, "pos", start) - start
            if isinstance(error, RecursionError) or read_again > MOST_BYTES:
                raise UnreadableLog(f"line {line}: nested too deeply", PART) from None
            at = (text.find("\n", start) + 1 or len(text) + 1) - 1
            log.asides.append(Aside(line, "no JSON object", text[start : min(at, start + QUOTED)]))
    rows_with = Counter(name for _, _, records in segments for _, record in records for name in record)
    kept = {name for name, _ in rows_with.most_common(MOST_COLUMNS)}
    rare = f"a column beyond the {MOST_COLUMNS} most frequent ones"
    log.asides += [Aside(1, rare, name[:QUOTED]) for name in rows_with if name not in kept]
    names = sorted((name for name in rows_with if name in kept), key=lambda name: name.count("."))
    require_cells(sum(len(records) for _, _, records in segments), len(names))
    for title, _, records in segments:
        rows = [(number_, [record.get(name, "") for name in names]) for number_, record in records]
        log.tables += [LogTable(names, title, rows)] if rows else []
    return log if log.tables else None


def _objects(text: str, start: int, value: JsonValue) -> Iterator[tuple[int, Mapping[str, JsonValue]]]:
    """(place in the text, object) of an object, of those of an array, or of those of the only array in an object."""
    if isinstance(value, dict):
        inner = [name for name, item in value.items() if isinstance(item, list) and _count(item) > 1]
        if len(inner) != 1:
            yield start, value
            return
        key = re.compile(rf"{re.escape(json.dumps(inner[0], ensure_ascii=False))}\s*+:\s*+\[").search(text, start)
        start, value = key.end() - 1 if key else start, value[inner[0]]
    if not isinstance(value, list):
        raise ValueError(value)
    at = start + 1
    for item in value:
        match = _VALUE.search(text, at)
        found, end = _DECODER.raw_decode(text, match.start()) if match else (None, at)
        if match and str(found) == str(item):  # else the array is not where it was looked for
            start, at = match.start(), end
        if isinstance(item, dict):
            yield start, item


def _count(items: Sequence[JsonValue]) -> int:
    return sum(isinstance(item, dict) for item in items)


def _flat(value: Mapping[str, JsonValue], above: str = "") -> Iterator[tuple[str, str]]:
    """(name, cell); what is in an object within has the names of both."""
    for name, item in value.items():
        if isinstance(item, dict) and item:
            yield from _flat(item, f"{above}{name}.")
        else:
            text = " ".join(item.split()) if isinstance(item, str) else "" if item is None else json.dumps(item)
            yield f"{above}{name}", text
