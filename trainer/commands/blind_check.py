"""`task check` asks whether a metric is won by a model that ignores its input, or by one that was hardly trained."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from programs.common import bounded
from trainer.cards.check_record import CheckFinding
from trainer.commands.knobs import SEED
from trainer.experiment import Spec, Trainer
from trainer.outcome import Outcome

CLAUSE = "constant"
_LITTLE = 0.02  # of the budget
_SEE = "a metric that needs the input, or a start that learns something"


def blind_findings(trainer: Trainer, baseline: Outcome) -> Iterator[CheckFinding]:
    """``baseline``: the last training of ``trainer``, with artifacts. Nothing for a task without them and a budget."""
    task = trainer.task
    if task.scales:
        little = trainer.run(Spec(task.baseline(), SEED, fraction=_LITTLE))
        yield _compared(trainer, baseline, little, f"with {_LITTLE:.0%} of the budget")
    artifacts = trainer.command.left
    names = ", ".join(artifacts)
    constant = constant_prediction(names, *artifacts.values()) if len(artifacts) == 1 else None
    if constant is not None:
        with Trainer(task, trainer.data, sandbox=trainer.attempt.sandboxed) as blind:
            blind.command.artifacts = {names: constant}
            outcome = blind.run(Spec(task.baseline(), SEED))
        yield _compared(trainer, baseline, outcome, f"with one prediction for all rows of {names}")
    elif names:
        message = f"not tried whether predictions that ignore the input win: {names} is no single table of predictions"
        yield CheckFinding(
            "warning",
            CLAUSE,
            message,
            "let the training leave its predictions as .npy, .json, .csv, .tsv, or .txt with one number a line",
        )


def _compared(trainer: Trainer, baseline: Outcome, blind: Outcome, how: str) -> CheckFinding:
    task = trainer.task
    if blind.metric is None or baseline.metric is None:
        return CheckFinding("ok", CLAUSE, f"{how} there is no score: {blind.reason}")
    line = f"{how} {task.metric} is {blind.metric:.6g}"
    if task.sign * (blind.metric - baseline.metric) > 0:
        return CheckFinding("ok", CLAUSE, f"{line}, which is worse")
    return CheckFinding("warning", CLAUSE, f"{line}, no worse than {baseline.metric:.6g} of the untouched files", _SEE)


def constant_prediction(name: str, data: bytes) -> bytes | None:
    """The same table with one prediction for all rows: the mean of fractions, the most frequent of other values.
    Columns of other values that never repeat are names of rows, and stay. None for what is no such table."""
    form = {"npy": _array, "json": _json, "csv": _text, "tsv": _text, "txt": _numbers}.get(name.rpartition(".")[2])
    try:
        return form(data) if form else None
    except (ValueError, TypeError, IndexError, AttributeError, EOFError, csv.Error):
        return None


def _by_column(rows: Sequence[Sequence[Any]], values: Sequence[Sequence[Any]] = ()) -> list[list[Any]]:
    """``values``: of the rows, where these are texts. ValueError for less than two rows or different lengths, and where
    no column has predictions."""
    constants = [_constant(column) for column in zip(*values or rows, strict=True)]
    if len(rows) < 2 or all(value is None for value in constants):
        raise ValueError("no table of predictions")
    return [[old if value is None else value for old, value in zip(row, constants, strict=True)] for row in rows]


def _constant(column: Sequence[Any]) -> Any:
    """The prediction for all rows; None for names of rows."""
    if all(isinstance(value, int | float) for value in column) and any(isinstance(value, float) for value in column):
        return sum(column) / len(column)
    value, times = Counter(column).most_common(1)[0]
    return value if times > 1 else None


def _array(data: bytes) -> bytes:
    import numpy as np

    array, out = np.load(io.BytesIO(data), allow_pickle=False), io.BytesIO()
    if array.dtype.kind == "f" and len(array):
        array[:] = array.mean(axis=0)
    else:
        array[:] = np.reshape(_by_column(array.reshape(len(array), -1).tolist()), array.shape)
    np.save(out, array)
    return out.getvalue()


def _json(data: bytes) -> bytes | None:
    table = bounded.json_value(data.decode())
    if isinstance(table, dict):
        table = dict(_by_column([*table.items()]))
    elif isinstance(table, list) and isinstance(table[0], dict):
        rows = _by_column([[*row.values()] for row in table])
        table = [dict(zip(row, values, strict=True)) for row, values in zip(table, rows, strict=True)]
    elif isinstance(table, list):
        rows = _by_column([value if isinstance(value, list) else [value] for value in table])
        table = rows if isinstance(table[0], list) else [value for (value,) in rows]
    else:
        return None
    return json.dumps(table).encode()


def _numbers(data: bytes) -> bytes:
    """ValueError where a line is no number."""
    return _text("\n".join(str(float(line) if "." in line else int(line)) for line in data.decode().split()).encode())


def _text(data: bytes) -> bytes:
    text, out = data.decode(), io.StringIO()
    separator = "\t" if "\t" in text.partition("\n")[0] else ","
    rows: list[list[Any]] = [row for row in csv.reader(io.StringIO(text), delimiter=separator) if row]
    values = [[cell if (value := bounded.number(cell)) is None else value for cell in row] for row in rows]
    head = all(isinstance(cell, str) for cell in values[0])
    rows = [*rows[:head], *_by_column(rows[head:], values[head:])]
    csv.writer(out, delimiter=separator, lineterminator="\n").writerows(rows)
    return out.getvalue().encode()
