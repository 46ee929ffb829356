"""The runs of a log: its rows in order, what each kept row added, what was measured again, and the noise."""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from statistics import fmean
from typing import TYPE_CHECKING

from analysis.imports.cells import DECIDED, FAILED, UNMEASURED, aliases, is_missing, meaning, number, settled
from analysis.imports.columns import (
    ASK_DIRECTION,
    Columns,
    Stated,
    columns_of,
    direction_of,
    one_row_a_training,
    tables_of_metrics,
)
from analysis.imports.noise import MeasurementNoise
from analysis.imports.repeats import SeenRows, noise_of, repeats_of, scripts_first
from analysis.imports.rows import Row
from analysis.imports.table import QUOTED, Aside, LogTable, LogText, UnreadableLog
from analysis.statistics import Estimate, family_p
from trainer.rows import share_error, share_scale
from trainer.values.metric_names import may_be_share, named_direction, plain_name

if TYPE_CHECKING:
    from pydantic import JsonValue

DESCRIPTION = 4_000  # characters stored
FAR = 50.0  # times the baseline, or a fiftieth of it: pointed out; as far from 0 no value is near it
EPOCH = 1e8  # seconds since 1970, in 1973
LEAST = 3  # rows of each model, GPU or agent; with fewer of any, all are one run
UNITS = {  # role → (key of an experiment's event, in its unit)
    "seed": ("seed", 1),
    "steps": ("steps", 1),
    "seconds": ("wall_seconds", 1),
    "memory_mb": ("peak_memory_mb", 1),
    "memory_gb": ("peak_memory_mb", 1024),
}


@dataclass
class ImportedRun:
    """One run. ``notes``: what a reader has to know (docs/views.md, `imports`)."""

    name: str
    metric: str
    metric_from: str
    direction: str
    direction_from: str
    rows: list[Row]
    notes: dict[str, JsonValue]
    noise: MeasurementNoise = field(default=MeasurementNoise())
    is_relative: bool = False  # the metric is a difference from a baseline of each row
    reruns: Mapping[Row, list[float]] = field(default_factory=dict)  # row → what other rows measured of its script
    rechecks: Mapping[Row, list[float]] = field(default_factory=dict)  # of later rows alone

    @property
    def sign(self) -> float:
        return -1.0 if self.direction == "higher" else 1.0

    @property
    def baseline(self) -> float | None:
        return next((row.metric for row in self.rows if row.decision == "baseline"), None)

    @property
    def tries(self) -> list[Row]:
        """The rows that measured a script of their own."""
        return [row for row in self.rows if row.metric is not None and row.repeats is None and row.number]

    @property
    def chance_gain(self) -> float | None:
        """The expected gain of as many tries without an effect."""
        return self.noise.best_of(len(self.tries))

    def values(self, row: Row) -> list[float]:
        """All measurements of the script of a row."""
        return [value for value in (row.metric, *self.reruns.get(row, ())) if value is not None]

    def gain(self, row: Row, before: Row) -> Estimate:
        """The gain over an earlier row. Where the row was measured again, only that counts: it was chosen by its first
        measurement."""
        later, earlier = self.rechecks.get(row) or self.values(row), self.values(before)
        return self.noise.difference(self.sign * (fmean(earlier) - fmean(later)), len(later), len(earlier))


def runs_of(log: LogText, stated: Stated) -> list[ImportedRun]:
    """The runs of a log, judged; lines that are no rows are added to its asides. Raises UnreadableLog."""
    runs, problems = list[ImportedRun](), list[UnreadableLog]()
    trainings = [one_row_a_training(table, log) for table in log.tables]
    for table in [part for whole in trainings for part in tables_of_metrics(whole)]:
        try:
            runs += _of_table(log, table, stated) if table.rows else []
        except UnreadableLog as problem:
            problems.append(problem)
            log.asides += [Aside(line, str(problem), "\t".join(cells)[:QUOTED]) for line, cells in table.rows]
    if not runs:
        first = next(iter(log.asides), None)
        why = f"no row is read: in line {first.line} {first.reason}" if first else "a header without rows"
        raise problems[0] if problems else UnreadableLog(why)
    for run in runs:
        _judge(run, SeenRows(stated.reruns == "words"))
        run.reruns = repeats_of(run.rows)
        run.rechecks = repeats_of([row for row in run.rows if row.repeats is None or row.repeats.line < row.line])
        run.noise = MeasurementNoise(stated.noise) if stated.noise else noise_of(run.reruns)
        if stated.rows:
            run.noise = replace(run.noise, n_rows=stated.rows, rows_sd=_rows_sd(run, stated.rows))
        _set_step_p(run)
    return runs


def _set_step_p(run: ImportedRun) -> None:
    """Bonferroni's bound over all tries of the run. Steps that were measured again are tests of their own: there are
    fewer of them, and where there are both kinds, each has half of the error."""
    steps = [(row, row.before) for row in run.rows if row.step_gain is not None and row.before is not None]
    repeated, tries = sum(row in run.rechecks for row, _ in steps), len(run.tries)
    for row, before in steps:
        gain = run.gain(row, before)
        tests = repeated if row in run.rechecks else tries
        if gain.se:
            row.step_p = family_p(gain.or_zero / gain.se, gain.df, tests * (2 if repeated else 1))


def _of_table(log: LogText, table: LogTable, stated: Stated) -> list[ImportedRun]:
    columns = columns_of(table, stated)
    groups, notes = _groups(table, columns)
    described = [columns.names[i] for i in columns.at["description"]]
    notes |= {"description_column": described[0] if described else ""} if described != ["description"] else {}
    unread = ("other", "setup", "phase", "" if columns.at.get("seed") else "setting")
    used = {i for kind, some in columns.at.items() if kind not in unread for i in some}
    runs = []
    for label, rows in groups.items():
        name = plain_name(table.metric) or columns.names[columns.metric]
        part = LogTable(table.names, table.title, rows)
        way, why = direction_of(log, part, columns, name, stated.direction)
        values = dict(notes)
        if stated.direction and named_direction(name) == ({"lower": "higher", "higher": "lower"}[way], True):
            values["direction_against_name"] = way
        read = [row for line, cells in _ordered(rows, columns, values) if (row := _row(line, cells, columns, log))]
        read = scripts_first(read)
        if not read:
            continue
        title = label or table.title * (len(log.tables) > 1)
        if is_relative := "own_baseline" in columns.at:
            values["own_baseline"] = columns.names[columns.at["own_baseline"][0]]
        _set_zeros_aside([] if is_relative else read, values)
        unused = [columns.names[i] for i in columns.extra if i not in used and columns.names[i]]
        values |= {"unused_columns": [*unused]} if unused else {}
        title_of_arm = f"{name}_minus_baseline" if is_relative else name
        runs.append(
            ImportedRun(title, title_of_arm, columns.metric_from, way, why, read, values, is_relative=is_relative)
        )
        if quoted := re.search(
            aliases()["again"]["noise"], "\n".join([*log.said, *(r.description for r in read)]), re.I
        ):
            values["quoted_noise"] = quoted[0]
    return runs


def _set_zeros_aside(rows: Sequence[Row], notes: dict[str, JsonValue]) -> None:
    """A zero of a row that was skipped or discarded is no measurement where no other value is near zero."""
    zeros = [row for row in rows if row.metric == 0.0 and meaning(row.word or "") in ("discard", "skip")]
    others = [abs(row.metric) for row in rows if row.metric is not None and row not in zeros]
    if zeros and others and min(others) * FAR > max(others):
        notes["zeros_unmeasured"] = len(zeros)
        for row in zeros:
            row.metric = row.status = None


def _groups(table: LogTable, columns: Columns) -> tuple[dict[str, list[tuple[int, list[str]]]], dict[str, JsonValue]]:
    """(setup or empty → its rows; a note on a column of setups with too few rows of a value)."""
    apart, notes = list[int](), dict[str, "JsonValue"]()
    for i in columns.at.get("setup", ()):
        counts = Counter(cells[i] for _, cells in table.rows)
        if len(counts) > 1 and min(counts.values()) >= LEAST:
            apart.append(i)
        elif len(counts) > 1:
            notes.setdefault("one_run_of", {"column": table.names[i], "values": len(counts)})
    for i in columns.at.get("phase", ()):
        first = {cells[i]: cells for _, cells in reversed(table.rows)}
        texts = columns.at.get("status", ()) + columns.at.get("description", ())
        if all(any(meaning(cells[j]) == "baseline" for j in texts) for cells in first.values()):
            apart.append(i)
    groups: dict[str, list[tuple[int, list[str]]]] = defaultdict(list)
    for line, cells in table.rows:
        groups[", ".join(cells[i] for i in apart if cells[i])].append((line, cells))
    return groups, notes


def _ordered(
    rows: list[tuple[int, list[str]]], columns: Columns, notes: dict[str, JsonValue]
) -> list[tuple[int, list[str]]]:
    """The rows by the first column of times in which none is missing; the log's order without one."""
    for column in columns.at.get("time", ()):
        times = [_time(cells[column]) for _, cells in rows]
        if not any(map(math.isnan, times)):
            if times != sorted(times):
                notes["sorted_by"] = columns.names[column]
            pairs = list(zip(times, rows, strict=True))
            newest_first = times == sorted(times, reverse=True)
            return [row for _, row in sorted(pairs[::-1] if newest_first else pairs, key=lambda pair: pair[0])]
    return rows


def _time(cell: str) -> float:
    """Seconds since 1970; not a number where the cell is no time."""
    try:
        moment = datetime.fromisoformat(cell)
    except ValueError:
        seconds = number(cell)
        return seconds if seconds is not None and seconds > EPOCH else math.nan  # less is a duration
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _row(line: int, cells: Sequence[str], columns: Columns, log: LogText) -> Row | None:
    """The row, or None with an entry in the asides."""
    at, written = columns.at, cells[columns.metric]
    value = number(written)
    failure = meaning(written) if value is None else None
    words = [cells[i] for i in at.get("status", ()) if cells[i]]
    decision = (
        "keep" if {word.lower() for word in words} & columns.kept else settled({*filter(None, map(meaning, words))})
    )
    failed = next((kind for kind in (decision, failure) if kind in FAILED), None)
    if value is not None and "own_baseline" in at:
        before = number(cells[at["own_baseline"][0]])
        value = None if before is None else value - before
    if is_missing(written) and any(not is_missing(cells[i]) for i in at.get("error", ())):
        failed = "crash"
    if value is None and failed is None and not (words and is_missing(written)):
        log.asides.append(Aside(line, f"the metric is {written[:40]!r}", "\t".join(cells)[:QUOTED]))
        return None
    amounts = [(key, unit, number(cells[i])) for kind, (key, unit) in UNITS.items() for i in at.get(kind, ())]
    measured = {key: amount * unit for key, unit, amount in amounts if amount is not None}
    names = [cells[i].strip("*`") for kind in ("commit", "number") for i in at.get(kind, ())]
    if decision in UNMEASURED:
        value = None
    return Row(
        line=line,
        metric=None if failed else value,
        status=failed or ("ok" if value is not None else None),
        decision="discard"
        if failed or decision == "pruned"
        else decision
        if decision in (*DECIDED, "baseline")
        else None,
        word=" ".join(words) or None,
        description=" ".join(cells[i] for i in at.get("description", ())[:1])[:DESCRIPTION],
        commit=next((name for name in names if not is_missing(name)), None),
        measured=measured,
        same=_same(cells, columns),
        extra={columns.names[i]: cells[i] for i in columns.extra if cells[i]},
    )


def _same(cells: Sequence[str], columns: Columns) -> dict[str, str]:
    """What two rows that measure one script have in common. A name is no part of it: trackers draw one for each row."""

    def filled(kind: str) -> list[int]:
        return [i for i in columns.at.get(kind, ()) if not is_missing(cells[i])]

    filled_columns = {kind: filled(kind) for kind in ("script", "setup", "config")}
    if "seed" in columns.at and filled("seed"):
        filled_columns["config"] += filled("setting")
    if filled_columns["config"]:
        filled_columns["config"] += [
            *filled("commit"),
            *(i for i in filled("description") if columns.names[i] != "name"),
        ]
    return {kind: "\t".join(cells[i] for i in some) for kind, some in filled_columns.items()}


# -- what the rows say together ------------------------------------------------------------------------------------


def _judge(run: ImportedRun, seen: SeenRows) -> None:
    """Numbers, bests, steps and re-runs. The first measured row is the baseline, unless it was discarded, or each row
    has a baseline of its own: then no step is added to another."""
    rows, sign = run.rows, run.sign
    first = None if run.is_relative else next((i for i, row in enumerate(rows) if row.metric is not None), None)
    if first is not None and rows[first].decision == "discard":
        first = None
    if first is not None:
        rows[first].decision = "baseline"
    says_kept = any(row.decision == "keep" for row in rows)
    no_difference, tries = Row(0, 0.0, None, None, None, "", None, {}, {}, {}), 0
    for i, row in enumerate(rows):
        row.number = i + 1 if first is None else i - first
        if row.metric is not None:
            row.repeats = seen.original(row)
            if row.repeats:  # whatever its status says
                row.decision = "replicate"
            ahead = None if seen.best is None else sign * ((seen.best.metric or 0.0) - row.metric)
            parent, gain = (no_difference, -sign * row.metric) if run.is_relative else (seen.best, ahead)
            row.before = parent
            tries += i != first and row.repeats is None
            is_new_best = row.decision is None and (gain or 0.0) > 0.0
            kept = row.decision == "keep" if says_kept else is_new_best
            if kept:
                row.step_gain, row.step_tries, tries = gain, tries, 0
            if i == first or (kept and (ahead is None or ahead > 0.0)):
                seen.best = row
        row.best_so_far = seen.best.metric if seen.best else None
    if unknown := {row.word for row in rows if row.word and row.decision is None and meaning(row.word) is None}:
        run.notes["unknown_statuses"] = [*sorted(unknown)]
    if seen.same_words:
        run.notes["same_words"] = seen.same_words
    if exact := sum(row.is_exact for row in rows):
        run.notes["exact_repeats"] = exact
    _point_out(run)


def _point_out(run: ImportedRun) -> None:
    """Notes values that are far beyond the baseline, and steps that mostly go the wrong way."""
    base = run.baseline
    if base:
        far = [r for r in run.rows if r.metric is not None]
        far = [r for r in far if run.sign * (base - (r.metric or 0.0)) > 0.0 or r.decision != "discard"]
        far = [r for r in far if abs(r.metric or 0.0) > FAR * abs(base) or abs(r.metric or 0.0) * FAR < abs(base)]
        if far:
            run.notes["far_from_baseline"] = {"rows": len(far), "line": far[0].line, "value": far[0].metric}
    steps = [row.step_gain for row in run.rows if row.step_gain is not None]
    if (worse := sum(step < 0.0 for step in steps)) > max(2, len(steps) / 2):
        if run.direction_from != "given" and "one_run_of" not in run.notes:
            what = f"{worse} of {len(steps)} kept rows are worse than the best before if {run.direction} is better"
            raise UnreadableLog(f"{what} ({run.direction_from})", ASK_DIRECTION)
        run.notes["kept_worse"] = worse


def _rows_sd(run: ImportedRun, rows: int) -> float:
    """The SD of the metric between draws of so many validation rows, of the first script or of a step, whichever has
    the larger one. Raises UnreadableLog where the metric is no share of rows."""
    values = [row.metric for row in run.rows if row.metric is not None]
    scale = share_scale(values)
    wrong = next((value for value in values if not 0 <= value <= 100), None)
    if scale is None or not may_be_share(run.metric):
        why = f"{run.metric} is {wrong:g} in one row" if wrong is not None else f"{run.metric} is not named like one"
        hint = "leave out --rows; --noise SD states the noise of another metric"
        raise UnreadableLog(f"--rows is for an error rate or an accuracy, from 0 to 1 or in percent; {why}", hint)
    judged = [r.metric for r in run.rows if r.metric is not None and (not r.number or r.step_gain is not None)]
    return scale * max((share_error(value / scale, rows) for value in judged or values), default=share_error(0.0, rows))
