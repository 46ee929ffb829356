"""Knowledge base: effects of edits over many tasks, by role, in a folder of Parquet files (docs/knowledge.md).

Each file holds what one source told: a sweep, a study, an imported log. Files are only added, so merging two knowledge
bases is copying files. A row is one edit on one script of one task.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from analysis.tables import rows as rows_of
from programs.errors import NotFound, UsageError
from programs.ids import content_id
from trainer.edits import Value

SCHEMA = 1
COLUMNS = {
    "schema": "INTEGER",
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


@dataclass(frozen=True)
class Effect:
    """What one edit did to one script of a task.

    ``kind``: sweep, study or log; ``source``: what told it, for people. ``context``: the script's value of each role
    before the edit; ``edit``: the new values, in the words of `trainer.roles.meaning`. Gains and levels are shares of
    the task's reach, the gain of the best script that its source found: ``level`` is that of the script before the edit
    (0: the untouched one), ``gain`` what the edit added; None if the experiment failed. ``n``: experiments with the
    edit; ``se``: of the gain.
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


def write(folder: Path, effects: Sequence[Effect]) -> Path:
    """Add a file with the effects of one source; the same effects again are the same file. Returns its path."""
    import duckdb
    import pandas as pd

    lines = [_line(effect) for effect in effects]
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"effects-{content_id('', json.dumps(lines))}.parquet"
    if target.exists():
        return target
    draft = target.with_suffix(".new")
    table = pd.DataFrame(lines, columns=list(COLUMNS))
    columns = ", ".join(f"CAST({name} AS {kind}) AS {name}" for name, kind in COLUMNS.items())
    with duckdb.connect(":memory:") as con:
        con.register("effects", table)
        quoted = str(draft).replace("'", "''")
        con.execute(f"COPY (SELECT {columns} FROM effects) TO '{quoted}' (FORMAT parquet, COMPRESSION zstd)")
    os.replace(draft, target)
    return target


def _line(effect: Effect) -> dict[str, object]:
    line = {"schema": SCHEMA, **asdict(effect)}
    return line | {key: json.dumps(line[key], sort_keys=True) for key in ("context", "edit")}


def read(folders: Iterable[Path], *, without: Collection[str] = ()) -> list[Effect]:
    """The effects in these knowledge bases, without those of the tasks and families in ``without``.

    Raises NotFound for a folder without effects, UsageError for one of a later version or a file that is damaged.
    """
    import duckdb

    effects: dict[str, Effect] = {}
    for folder in folders:
        files = sorted(folder.glob("*.parquet"))
        if not files:
            raise NotFound(f"{folder} holds no knowledge", hint="metaloop sweep and metaloop learn write some")
        for file in files:
            try:
                with duckdb.connect(":memory:") as con:
                    lines = rows_of(con.execute("FROM read_parquet(?)", [str(file)]))
            except duckdb.Error as error:
                raise UsageError(f"{file}: cannot be read: {str(error).splitlines()[0]}") from None
            for line in lines:
                if line.get("schema") != SCHEMA:
                    hint = "it was written by another version of Metaloop"
                    raise UsageError(f"{file}: schema {line.get('schema')}, this version reads {SCHEMA}", hint=hint)
                effect = Effect(**{k: json.loads(v) if k in ("context", "edit") else v for k, v in line.items() if k != "schema"})
                if not {effect.family, effect.task, effect.task_id} & set(without):
                    effects[f"{file.name} {len(effects)}"] = effect
    return list(effects.values())
