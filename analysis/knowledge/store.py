"""Knowledge base: effects of edits over many tasks, by role, in a folder of Parquet files (docs/knowledge.md).

Each file holds what one source showed: a sweep of a task, or a study. Files are only added, so merging two knowledge
bases is copying files. A row is one edit on one script of one task.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from analysis.ledger.json_values import read_as
from analysis.views.tables import answer, exact_path, parquet, quoted, rows, typed_rows
from programs.common.bounded import json_value
from programs.common.errors import NotFound, UsageError
from programs.common.files import irregular, is_regular
from programs.common.ids import content_id
from programs.common.text import one_line
from trainer.edits import Value
from trainer.gpu import hardware_class
from trainer.outcome import Status
from trainer.task import Task
from trainer.values.roles import meaning

if TYPE_CHECKING:
    import duckdb
    from pydantic import JsonValue

SCHEMA = 1
JSON = ("context", "edit")
MOST_ROWS, MOST_CHARACTERS = 1_000_000, 1 << 28  # of a file
SHIPPED = Path(__file__).with_name("shipped")  # what was learnt from the built-in families
COLUMNS = {
    "schema": "INTEGER",  # the version of this table
    "kind": "VARCHAR",
    "source": "VARCHAR",
    "family": "VARCHAR",
    "task": "VARCHAR",
    "task_id": "VARCHAR",
    "metric": "VARCHAR",
    "hardware_class": "VARCHAR",
    "context": "VARCHAR",
    "edit": "VARCHAR",
    "status": "VARCHAR",
    "gain": "DOUBLE",
    "se": "DOUBLE",
    "level": "DOUBLE",
    "n": "INTEGER",
}
_DAMAGED = "copy it again, or remove it"
_TYPED = ", ".join(f"CAST({name} AS {kind}) AS {name}" for name, kind in COLUMNS.items())
_TEXTS = [name for name, kind in COLUMNS.items() if kind == "VARCHAR"]
_LENGTH = " + ".join(f"coalesce(strlen(CAST({name} AS VARCHAR)), 0)" for name in _TEXTS)


@dataclass(frozen=True)
class EditTrial:
    """What one edit did to one script, in words of roles.

    ``context``: the script's value of each role before the edit; ``edit``: the new values, none for the script itself.
    ``before`` and ``after`` in the metric's unit; ``after`` is None if an experiment failed. ``se``: of the
    difference.
    """

    context: Mapping[str, Value]
    edit: Mapping[str, Value]
    status: Status
    before: float
    after: float | None
    se: float | None
    n: int


def role_values_of(task: Task, config: Mapping[str, Value]) -> dict[str, Value]:
    """The value of each role that a script with these values of the task's knobs has, as other tasks understand it."""
    values: dict[str, Value] = {}
    for knob in task.edits.knobs:
        if knob.role and knob.name in config:
            values.setdefault(knob.role, meaning(knob.role, config[knob.name]))
    return values


@dataclass(frozen=True)
class Effect:
    """What one edit did to one script of a task.

    ``kind``: sweep or study; ``source``: where it comes from, for people. ``context``: the script's value of
    each role before the edit; ``edit``: the new values (none: the script itself), in the words of
    `trainer.values.roles.meaning`. Gains and levels are shares of the task's reach, the gain of the best script that
    its source found: ``level`` is that of the script before the edit (0: the untouched one), ``gain`` what the edit
    added; None if an experiment failed. ``n``: experiments with the edit; ``se``: of the gain.
    """

    kind: str
    source: str
    family: str
    task: str
    task_id: str
    metric: str
    hardware_class: str
    context: Mapping[str, Value]
    edit: Mapping[str, Value]
    status: str
    gain: float | None
    se: float | None
    level: float
    n: int


def of_trials(trials: Sequence[EditTrial], task: Task, *, kind: str, source: str) -> list[Effect]:
    """The effects of one task's trials, in shares of the reach; none if nothing was better than the untouched script.

    The first trial is one on the untouched script.
    """
    start, sign = trials[0].before, task.sign
    best = min((sign * trial.after for trial in trials if trial.after is not None), default=sign * start)
    reach = sign * start - best
    if reach <= 0:
        return []
    machine = hardware_class(task.device)
    return [
        Effect(
            kind=kind,
            source=source,
            family=family_of(task),
            task=task.name,
            task_id=task.task_id,
            metric=task.metric,
            hardware_class=machine,
            context=trial.context,
            edit=trial.edit,
            status=trial.status,
            gain=None if trial.after is None else sign * (trial.before - trial.after) / reach,
            se=None if trial.se is None else trial.se / reach,
            level=sign * (start - trial.before) / reach,
            n=trial.n,
        )
        for trial in trials
    ]


def family_of(task: Task) -> str:
    return task.family.name if task.family else task.name


def of_study(con: duckdb.DuckDBPyConnection, task: Task, source: str) -> list[Effect]:
    """What the experiments of an open study showed about a task: each script against the one that it was made from.

    Scripts that were tried several times count once, with their mean; screens and imported rows are left out.
    """
    tried = typed_rows(con.execute(_TRIED, {"task": task.name}), TriedScript)
    start = next((row for row in tried if row.parent_config is None), None)
    if start is None or start.after is None:
        return []
    trials = [EditTrial(role_values_of(task, start.config), {}, "ok", start.after, start.after, None, start.n)]
    trials += [_trial(task, row, row.before) for row in tried if row.before is not None]
    return of_trials(trials, task, kind="study", source=source)


# one line for each script and the script before it; full experiments on the data of the search alone
_TRIED = """
WITH tried AS (
    SELECT source_id, any_value(config) AS config, avg(metric) AS metric, count(*)::INTEGER AS n,
        stddev(metric) AS sd, bool_and(status = 'ok') AS ok, any_value(status) FILTER (status <> 'ok') AS failed,
        min(number) AS first
    FROM experiments WHERE task = $task AND fraction = 1 AND status <> 'fault' GROUP BY source_id
), pairs AS (
    SELECT DISTINCT source_id, parent_source_id FROM experiments
    WHERE task = $task AND fraction = 1 AND status <> 'fault'
)
SELECT child.config, parent.config AS parent_config, parent.metric AS before, child.metric AS after,
    child.ok, coalesce(child.failed, 'ok') AS status, child.n, child.sd,
    coalesce(parent.n, 0) AS parent_n, parent.sd AS parent_sd
FROM pairs JOIN tried AS child USING (source_id)
LEFT JOIN tried AS parent ON parent.source_id = pairs.parent_source_id
WHERE parent.source_id IS NULL OR parent.metric IS NOT NULL
ORDER BY parent.source_id IS NOT NULL, child.first, child.source_id, parent.source_id
"""


@dataclass(frozen=True)
class TriedScript:
    """A script and the one that it was made from, None for the untouched one; ``sd`` of their metrics."""

    config: Mapping[str, Value]
    parent_config: Mapping[str, Value] | None
    before: float | None
    after: float | None
    ok: bool
    status: Status
    n: int
    sd: float | None
    parent_n: int
    parent_sd: float | None


def _trial(task: Task, row: TriedScript, before: float) -> EditTrial:
    config, context = role_values_of(task, row.config), role_values_of(task, row.parent_config or {})
    sds = [sd for sd in (row.sd, row.parent_sd) if sd is not None]
    sd = max(sds, default=None)
    return EditTrial(
        context=context,
        edit={role: value for role, value in config.items() if context.get(role) != value},
        status=row.status,
        before=before,
        after=row.after if row.ok else None,
        se=sd * math.sqrt(1 / row.n + 1 / row.parent_n) if sd is not None and row.ok else None,
        n=row.n,
    )


def write(folder: Path, effects: Sequence[Effect]) -> Path:
    """Add a file with the effects of one source; the same effects again are the same file. Returns its path."""
    import duckdb
    import pandas as pd

    lines = [_line(effect) for effect in effects]
    target = folder / f"effects-{content_id('', json.dumps(lines))}.parquet"
    if target.exists():
        return target
    folder.mkdir(parents=True, exist_ok=True)
    draft = target.with_suffix(".new")
    with duckdb.connect(":memory:") as con:
        con.register("effects", pd.DataFrame(lines, columns=list(COLUMNS)))
        con.execute(f"COPY (SELECT {_TYPED} FROM effects) TO '{quoted(draft)}' (FORMAT parquet, COMPRESSION zstd)")
    os.replace(draft, target)
    return target


def _line(effect: Effect) -> dict[str, JsonValue]:
    line: dict[str, JsonValue] = {"schema": SCHEMA, **asdict(effect)}
    return line | {key: json.dumps(line[key], sort_keys=True) for key in JSON}


def files_of(folders: Iterable[Path]) -> list[Path]:
    """The files of these knowledge bases, each once, in however many folders. Raises NotFound for a folder without one,
    Corrupt for a pipe or a link."""
    by_name: dict[str, Path] = {}
    for folder in folders:
        files = sorted(folder.glob("effects-*.parquet"))
        if not files:
            raise NotFound(
                f"{folder}: no knowledge base", hint="a folder of effects-ID.parquet files, docs/knowledge.md"
            )
        if strange := next((file for file in files if not is_regular(file)), None):
            raise irregular(strange)
        by_name |= {file.name: file for file in files}
    return [by_name[name] for name in sorted(by_name)]


def read(folders: Iterable[Path], *, without: Collection[str] = ()) -> list[Effect]:
    """The effects in these knowledge bases, but for those of the tasks and families in ``without``.

    Raises as `files_of`, and UsageError for a file of another version, or one that is damaged or too large.
    """
    import duckdb

    effects: list[Effect] = []
    read_lines: list[tuple[Path, list[dict[str, JsonValue]]]] = []
    with duckdb.connect(":memory:") as con:
        for file in files_of(folders):
            with _readable(con, file):
                read_lines.append((file, rows(con.execute(f"SELECT {_TYPED} FROM {parquet(file)}"))))
    for file, lines in read_lines:
        for line in lines:
            if line.get("schema") != SCHEMA:
                problem = f"{file}: schema {line.get('schema')}, this version reads {SCHEMA}"
                raise UsageError(problem, hint="read it with the version of Metaloop that wrote it")
            try:
                effect = read_as(Effect, {**line, **{key: json_value(str(line[key])) for key in JSON}})
            except ValueError as error:
                raise UsageError(f"{file}: a row is no effect: {one_line(str(error), 100)}", hint=_DAMAGED) from None
            if not {effect.family, effect.task, effect.task_id} & set(without):
                effects.append(effect)
    return effects


@contextmanager
def _readable(con: duckdb.DuckDBPyConnection, file: Path) -> Iterator[None]:
    """Raises UsageError for a file without the columns of effects, a damaged one, and one with more than MOST_ROWS rows
    or MOST_CHARACTERS characters: 500 kB of parquet can hold 20,000,000 rows. DuckDB's errors about the file within,
    too."""
    import duckdb

    characters = 0
    try:
        (count,) = con.execute("SELECT num_rows FROM parquet_file_metadata(?)", [exact_path(file)]).fetchone() or (0,)
        if count <= MOST_ROWS:
            measured = con.execute(f"SELECT coalesce(sum({_LENGTH}), 0) FROM {parquet(file)}")
            (characters,) = measured.fetchone() or (0,)
        if count > MOST_ROWS or characters > MOST_CHARACTERS:
            most = f"the maximum is {MOST_ROWS:,} rows of {MOST_CHARACTERS:,} characters"
            raise UsageError(f"{file}: {count:,} rows of {characters:,} characters; {most}", hint=_DAMAGED)
        yield
    except duckdb.Error as error:
        raise UsageError(f"{file}: {str(error).splitlines()[0]}", hint=_DAMAGED) from None


def query(folders: Iterable[Path], sql: str) -> list[dict[str, JsonValue]]:
    """Rows of one SQL query over the table `effects`. Raises UsageError with DuckDB's message; else as `files_of`."""
    import duckdb

    with duckdb.connect(":memory:") as con:
        con.execute(f"CREATE TABLE effects ({', '.join(f'{name} {kind}' for name, kind in COLUMNS.items())})")
        for file in files_of(folders):
            with _readable(con, file):
                con.execute(f"INSERT INTO effects SELECT {_TYPED} FROM {parquet(file)}")
        con.execute("SET enable_external_access = false")
        return answer(con, sql, "docs/knowledge.md lists the columns of effects")
