"""Which column of a table is the metric, which direction is better, and what the other columns are; else a question."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from analysis.imports.cells import (
    DECIDED,
    FAILED,
    aliases,
    directions,
    is_missing,
    meaning,
    number,
    role,
)
from analysis.imports.table import QUOTED, Aside, LogTable, LogText, UnreadableLog
from trainer.values.metric_names import named_direction, plain_name

MOST = 0.5  # of the rows that ran have a value of the metric, at least
ONLY_METRIC = "the only column with numbers in most rows whose name has no other known meaning"
ASK_METRIC = "name it with --metric; --direction and --status answer the other questions about a log"
ASK_DIRECTION = "say it with --direction lower or --direction higher"
STEPS = ("step", "steps", "global_step", "epoch")  # columns that rise within a training
LABELS = ("commit", "number", "description", "seed", "setup", "phase", "config", "metric_name")  # roles, of a training


@dataclass(frozen=True)
class Stated:
    """What the user says of a log: columns by name (of several metrics the first that it has), a direction, the SD of
    one measurement, the words of its statuses that mean kept, of how many validation rows the metric is a share, and
    ``words`` where rows with the same description are re-runs; lists with commas."""

    metric: str | None = None
    direction: str | None = None
    status: str | None = None
    noise: float | None = None
    description: str | None = None
    kept: str | None = None
    rows: int | None = None
    reruns: str | None = None


@dataclass(frozen=True)
class Columns:
    """The columns of a table. ``at``: role → columns; ``extra``: those without a role here."""

    names: tuple[str, ...]
    metric: int
    at: Mapping[str, tuple[int, ...]]
    metric_from: str
    kept: frozenset[str] = frozenset()  # words

    @cached_property
    def extra(self) -> list[int]:
        used = {i for name in ("commit", "status", "description") for i in self.at.get(name, ())}
        return [i for i in range(len(self.names)) if i != self.metric and i not in used]


def plain(header: str) -> str:
    """The name of a column without what stands in brackets behind it."""
    return plain_name(re.sub(r"\([^()]*\)|[↓↑]", "", header)) or plain_name(header) or header.strip()


def columns_of(table: LogTable, stated: Stated) -> Columns:
    """The columns of a table. Raises UnreadableLog with a question where the metric is not clear."""
    names = tuple(plain(name) for name in table.names)
    is_wanted = plain_name(table.metric) in map(plain_name, (stated.metric or "").split(","))
    metric = None if is_wanted else _named(stated.metric, table, "--metric")
    status = _named(stated.status, table, "--status")
    described = _named(stated.description, table, "--set description")
    at = defaultdict[str, list[int]](list)
    for index, kind in enumerate(_kinds(table)):
        if status is not None and (kind == "status" or index == status):
            kind = "status" if index == status else "other"
        worded = kind not in ("status", "error") or index == status
        if kind and index != metric and (worded or _has_words(table, index)):
            at[kind].append(index)
    texts = sorted(at["description"], key=lambda i: names[i] == "name")  # a name is a label where there are notes
    if described is not None:
        chosen_text = [described]
    else:  # `experiment` is a number in some logs, a text in others
        chosen_text = texts or [i for i in at["number"] if any(" " in cells[i] for _, cells in table.rows)]
    at["description"] = chosen_text[:1]
    at["other"] += [i for i in texts if i not in at["description"]]
    if status is None and not any(meaning(cells[i]) in DECIDED for i in at["status"] for _, cells in table.rows):
        at["status"] += [i for i in range(len(names)) if i not in {*at["status"], metric} and _decides(table, i)]
    chosen, why = (metric, "given") if metric is not None else _metric(table, names, at)
    if any("," in cells[chosen] and number(cells[chosen]) is not None for _, cells in table.rows):
        raise UnreadableLog(
            f"a comma in {table.names[chosen]!r} may be a decimal comma or group thousands",
            "write it with a point and no separators",
        )
    kept = frozenset((stated.kept or "").lower().replace(",", " ").split())
    return Columns(names, chosen, {kind: tuple(some) for kind, some in at.items()}, why, kept)


def tables_of_metrics(table: LogTable) -> list[LogTable]:
    """A table for each metric that a column names, else the table itself."""
    kinds = _kinds(table)
    if "metric_name" not in kinds:
        return [table]
    parts: dict[str, LogTable] = {}
    for line, cells in table.rows:
        name = cells[kinds.index("metric_name")]
        parts.setdefault(name, replace(table, rows=[], metric=name)).rows.append((line, cells))
    return [*parts.values()] or [table]


def _kinds(table: LogTable) -> list[str | None]:
    """The role of each column by its name and, where that has several meanings, by its cells."""
    names = [plain(name) for name in table.names]
    roles = [role(name) for name in names]

    def kind_of(column: int) -> str | None:
        name, kind = names[column], roles[column]
        if name in ("metric", "tag", "key") and _has_words(table, column):
            is_tag = "value" in names and not {"status", "description"} & {*roles}
            return "metric_name" if name == "metric" or is_tag else kind
        if kind == "own_baseline":
            values = {number(cells[column]) for _, cells in table.rows} - {None}
            return kind if len(values) > 1 and not _has_words(table, column) else "other"
        return "other" if table.names[column].startswith("_") and kind is None else kind  # W&B's own

    return [kind_of(column) for column in range(len(names))]


def _decides(table: LogTable, column: int) -> bool:
    """Whether all cells of a column are words of statuses, some of them of one kept or discarded."""
    cells = {cells[column].lower() for _, cells in table.rows if not is_missing(cells[column])}
    answers = {None if cell in aliases()["answers"]["words"] else meaning(cell) for cell in cells}
    return None not in answers and bool(answers & {*DECIDED})


def one_row_a_training(table: LogTable, log: LogText) -> LogTable:
    """The table with one row for each training, of the last value of each column, where a step rises within the rows
    that have the same labels and the same status, and there are more than two a training, as there are no re-runs of
    most; the earlier rows are added to the asides."""
    kinds = _kinds(table)
    trainings = defaultdict[tuple[str, ...], list[tuple[int, list[str]]]](list)
    for line, cells in table.rows:
        trainings[tuple(cells[i] for i, kind in enumerate(kinds) if kind in LABELS)].append((line, cells))
    for step in [i for i, name in enumerate(table.names) if plain(name) in STEPS]:
        if len(table.rows) > 2 * len(trainings) and all(_rises(rows, step, kinds) for rows in trainings.values()):
            reason = f"an earlier row of a training: {table.names[step]} rises in it"
            early = [row for rows in trainings.values() for row in rows[:-1]]
            log.asides += [Aside(line, reason, "\t".join(cells)[:QUOTED]) for line, cells in early]
            return replace(table, rows=[_last(rows) for rows in trainings.values()])
    return table


def _rises(rows: Sequence[tuple[int, list[str]]], step: int, kinds: Sequence[str | None]) -> bool:
    known = [value for _, cells in rows if (value := number(cells[step])) is not None]
    statuses = {cells[i] for _, cells in rows for i, kind in enumerate(kinds) if kind == "status"}
    return len(rows) < 2 or (len(statuses) < 2 and len(known) == len(rows) and known == sorted({*known}))


def _last(rows: Sequence[tuple[int, list[str]]]) -> tuple[int, list[str]]:
    """The last cell of each column that is not missing, with the line of the last row."""
    columns = zip(*(cells for _, cells in reversed(rows)), strict=True)
    return rows[-1][0], [next((cell for cell in column if not is_missing(cell)), "") for column in columns]


def _named(wanted: str | None, table: LogTable, flag: str) -> int | None:
    """The column that a flag names, in any spelling; of several, with commas, the first that the table has."""
    if wanted is None:
        return None
    known, several = {plain_name(name) for name in table.names}, wanted.split(",")
    wanted = next((column for column in several if plain_name(column) in known), several[-1])
    like = [i for i, name in enumerate(table.names) if wanted in (name, plain(name))] or [
        i for i, name in enumerate(table.names) if plain(name) == plain_name(wanted)
    ]
    if len(like) != 1:
        raise UnreadableLog(f"no single column is {wanted!r}; columns: {', '.join(table.names)}", f"correct {flag}")
    return like[0]


def _has_words(table: LogTable, column: int) -> bool:
    """Whether a column has statuses: `result` is one in some logs and a measurement in others."""
    cells = [cells[column] for _, cells in table.rows if not is_missing(cells[column])]
    return sum(number(cell) is not None for cell in cells) <= len(cells) / 2


def _metric(table: LogTable, names: Sequence[str], at: Mapping[str, Sequence[int]]) -> tuple[int, str]:
    """The only column with a number in most rows, of those at the top level if there are any."""
    if own := at.get("metric"):
        return own[0], "its name"
    taken = {i for some in at.values() for i in some}
    status = at.get("status", ())
    ran = [cells for _, cells in table.rows if not _failed(cells, status)] or [cells for _, cells in table.rows]
    free = [i for i in range(len(names)) if i not in taken]
    measured = [i for i in free if _is_measured([cells[i] for cells in ran])]
    indices = [i for i in measured if "." not in table.names[i]] or measured
    indices = [i for i in indices if len({cells[i] for cells in ran}) > 1] or indices  # a constant is no measurement
    if len(indices) == 1:
        return indices[0], ONLY_METRIC if measured == indices else f"{ONLY_METRIC}; others are nested or constant"
    if not indices:
        others = ", ".join(table.names[i] for i in free) or "none"
        if all(_failed(cells, status) for _, cells in table.rows):
            raise UnreadableLog("every row failed, so no column has the metric", ASK_METRIC)
        raise UnreadableLog(f"no column has a number in most rows (of unknown meaning: {others})", ASK_METRIC)
    listed = ", ".join(table.names[i] for i in indices)
    raise UnreadableLog(f"the metric may be any of {listed}", ASK_METRIC)


def _failed(cells: Sequence[str], status: Sequence[int]) -> bool:
    return any(meaning(cells[i]) in FAILED for i in status)


def _is_measured(cells: Sequence[str]) -> bool:
    """Whether most cells are numbers, apart from words of failures in place of one."""
    numbers = sum(number(cell) is not None for cell in cells)
    return numbers > MOST * sum(meaning(cell) not in FAILED for cell in cells)


def direction_of(log: LogText, table: LogTable, columns: Columns, name: str, stated: str | None) -> tuple[str, str]:
    """(the better direction, where it is from). What the file says goes before the name; raises UnreadableLog with a
    question if it says both, if a clear name disagrees with it, or if neither says anything."""
    if stated:
        return stated, "given"
    cells = {cell for i in columns.at.get("direction", ()) for _, row in table.rows if (cell := row[i])}
    about = [line for line in log.said if plain_name(name) in plain_name(line)] or log.said
    sources = (
        ("its header", directions(" ".join(re.findall(r"\([^()]*\)|[↓↑]", table.names[columns.metric])), True)),
        ("its column", {way for cell in cells for way in directions(cell, True)}),
        ("the text of the file", {way for line in about for way in directions(line)}),
    )
    direction, is_clear = named_direction(name)
    for source, text in sources:
        if len(text) == 1:
            way = text.pop()
            if is_clear and way != direction:
                raise UnreadableLog(f"{source} says {way} is better, the name {name!r} {direction}", ASK_DIRECTION)
            return way, source
        if text:
            raise UnreadableLog(f"{source} says both that lower and that higher is better", ASK_DIRECTION)
    if direction is None:
        raise UnreadableLog(f"nothing says whether a lower or a higher {name!r} is better", ASK_DIRECTION)
    return direction, "its name"
