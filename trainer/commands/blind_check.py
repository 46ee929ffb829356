"""`task check` asks whether a metric is won by a model that ignores its input, or by one that was hardly trained."""

from __future__ import annotations

import base64
import csv
import io
import json
import sys
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace

from programs.bounded import json_value
from trainer.cards.check_record import CheckFinding
from trainer.commands.knobs import SEED
from trainer.commands.trainer import CommandTrainer
from trainer.experiment import Spec
from trainer.outcome import Outcome

CLAUSE = "constant"
_LITTLE = 0.02  # of the budget
_SEE = "a metric that needs the input, or a start that learns something"
#: writes one file, whatever its length
_WRITE = "import base64,os,zlib;n={name!r};os.makedirs(os.path.dirname(n) or '.',exist_ok=True);"
_WRITE += "open(n,'wb').write(zlib.decompress(base64.b64decode({data!r})))"


def blind_findings(trainer: CommandTrainer, baseline: Outcome) -> Iterator[CheckFinding]:
    """``baseline``: the last training of ``trainer``, with artifacts. Nothing for a task without them and a budget."""
    task, run = trainer.task, trainer.section
    if task.scales:
        little = trainer.run(Spec(task.baseline(), SEED, fraction=_LITTLE))
        yield from _compared(trainer, baseline, little, f"with {_LITTLE:.0%} of the budget")
    if not run.score_command:
        return
    constants = {name: constant for name, data in trainer.left.items() if (constant := constant_prediction(name, data))}
    if len(constants) != 1 or len(trainer.left) != 1:
        names = ", ".join(trainer.left)
        message = f"not tried whether predictions that ignore the input win: {names} is no single table of predictions"
        yield CheckFinding("warning", CLAUSE, message, "let the training leave its predictions (.npy, .csv, .json)")
        return
    (name, constant), *_ = constants.items()
    code = _WRITE.format(name=name, data=base64.b64encode(zlib.compress(constant)).decode())
    blind = replace(task, run=run.model_copy(update={"command": [sys.executable, "-c", code]}))
    with CommandTrainer(blind, trainer.data, sandbox=trainer.launcher.sandboxed) as other:
        outcome = other.run(Spec(task.baseline(), SEED))
    yield from _compared(trainer, baseline, outcome, f"with one prediction for all rows of {name}")


def _compared(trainer: CommandTrainer, baseline: Outcome, blind: Outcome, how: str) -> Iterator[CheckFinding]:
    task = trainer.task
    if blind.metric is None or baseline.metric is None:
        yield CheckFinding("ok", CLAUSE, f"{how} there is no score: {blind.reason}")
    elif task.sign * (blind.metric - baseline.metric) <= 0:
        message = (
            f"{how} {task.metric} is {blind.metric:.6g}, no worse than {baseline.metric:.6g} of the untouched files"
        )
        yield CheckFinding("warning", CLAUSE, message, _SEE)
    else:
        yield CheckFinding("ok", CLAUSE, f"{how} {task.metric} is {blind.metric:.6g}, which is worse")


def constant_prediction(name: str, data: bytes) -> bytes | None:
    """The same table with one prediction for all rows: the mean of numbers, the most frequent of other values; columns
    without a repeated value are names of rows, and stay. None for what is no such table."""
    try:
        if name.endswith(".npy"):
            return _array(data)
        if name.endswith(".json"):
            return _json(data)
        return (
            _table(data.decode(), "\t" if name.endswith(".tsv") else ",") if name.endswith((".csv", ".tsv")) else None
        )
    except (ValueError, TypeError, EOFError):
        return None


def _constant(column: Sequence[object]) -> list[object]:
    """A column with one value; one of other values than fractions that never repeat stays."""
    numbers = [float(value) for value in column if isinstance(value, int | float) and not isinstance(value, bool)]
    if len(numbers) == len(column) and any(isinstance(value, float) for value in column):
        return [sum(numbers) / len(numbers)] * len(numbers)
    counts = Counter(map(repr, column))
    common, times = counts.most_common(1)[0]
    return [next(value for value in column if repr(value) == common)] * len(column) if times > 1 else [*column]


def _array(data: bytes) -> bytes | None:
    import numpy as np

    array = np.load(io.BytesIO(data), allow_pickle=False)
    if array.dtype.kind not in "fiub" or not array.ndim or not len(array):
        return None
    if array.dtype.kind == "f":
        array[:] = array.mean(axis=0)
    elif array.ndim == 1:
        array[:] = _constant(array.tolist())
    else:
        return None
    out = io.BytesIO()
    np.save(out, array)
    return out.getvalue()


def _json(data: bytes) -> bytes | None:
    value = json_value(data.decode())
    if isinstance(value, dict) and value and all(isinstance(one, list) and one for one in value.values()):
        made: object = {name: _constant(column) for name, column in value.items() if isinstance(column, list)}
    elif isinstance(value, dict) and value and not any(isinstance(one, list | dict) for one in value.values()):
        made = dict(zip(value, _constant([*value.values()]), strict=True))
    elif isinstance(value, list) and value and not any(isinstance(one, list | dict) for one in value):
        made = _constant(value)
    elif isinstance(value, list) and value and all(isinstance(row, list) for row in value):
        made = _by_column([row for row in value if isinstance(row, list)])
    else:
        return None
    return json.dumps(made).encode()


def _table(text: str, separator: str) -> bytes | None:
    rows = [row for row in csv.reader(io.StringIO(text), delimiter=separator) if row]
    head = 0 if not rows or any(_is_number(cell) for cell in rows[0]) else 1
    if len(rows) < head + 2:
        return None
    values = [[_number(cell) if _is_number(cell) else cell for cell in row] for row in rows[head:]]
    out = io.StringIO()
    csv.writer(out, delimiter=separator, lineterminator="\n").writerows([*rows[:head], *_by_column(values)])
    return out.getvalue().encode()


def _by_column(rows: Sequence[Sequence[object]]) -> list[list[object]]:
    """ValueError for rows of different lengths."""
    columns = [_constant(column) for column in zip(*rows, strict=True)]
    return [list(row) for row in zip(*columns, strict=True)]


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _number(cell: str) -> int | float:
    return int(cell) if cell.strip().lstrip("+-").isdecimal() else float(cell)
