"""Main effects of values against the baseline's, from all full experiments of a task on their whole configurations."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

from analysis.credit import Value
from analysis.scope import Scope

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Marks = tuple[NDArray[np.integer[Any]], NDArray[np.integer[Any]]]  # rows, and the column that is 1 there

Key = tuple[str, str]  # (knob in lower case, value in its one canonical text)
MAX_VALUES = 400  # of the joint model: the most often seen ones; a task declares a few dozen
PENALTIES = tuple(10.0**k for k in (-3, -2, -1.5, -1, -0.5, 0, 0.5, 1, 1.5, 2))


def joint_effects(scope: Scope) -> dict[Key, float]:
    """(knob, value) → main effect against the baseline's value × share of its tries that ran, in metric units.

    Ridge on one-hot values that differ from the baseline's, centred within runs; the penalty is chosen by generalised
    cross-validation (Golub, Heath and Wahba 1979). A value that never ran earns 0, and so does the baseline's own.
    """
    import numpy as np

    ran = {(r["key"], canonical(r["value_json"])): r["ran"] for r in scope.rows("tried_values")}
    effects = {key: 0.0 for key, share in ran.items() if share == 0.0}
    effects |= {(r["key"], canonical(r["value"])): 0.0 for r in scope.rows("baseline_values")}
    outcome, run, names, held = _read(scope)
    if not names:
        return effects
    counts: Counter[Key] = Counter()
    for name, count in names:
        counts[name] += count
    column = {name: index for index, (name, _) in enumerate(sorted(counts.most_common(MAX_VALUES)))}
    place = np.array([column.get(name, -1) for name, _ in names])[held[1]]
    marks = (held[0][place >= 0], place[place >= 0])
    gram, moment, total = _centred(outcome, run, marks, len(column))
    weights = _ridge(gram, moment, total, len(run) - len(np.unique(run)))
    return effects | {name: float(weights[i]) * ran.get(name, 1.0) for name, i in column.items()}


def canonical(value: Value) -> str:
    """One text for one value: a constant set to 2 and one that reads 2.0 hold the same."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return f"{value:.12g}" if number else json.dumps(value)


def _read(
    scope: Scope,
) -> tuple[NDArray[np.float64], NDArray[np.int64], list[tuple[Key, int]], Marks]:
    """(outcome and run of each row, each (name, count) that differs from the baseline, rows and which name they hold).

    Rows stand in order of run and number, whatever order they were written in, so that sums have the same bits.
    """
    import numpy as np

    knobs = sorted({knob for found in scope.rows("joint_knobs") for knob in found["keys"]})
    paths = ["/" + knob.replace("~", "~0").replace("/", "~1") for knob in knobs]
    base = next((found["base"] for found in scope.rows("joint_base", paths=paths)), [None] * len(knobs))
    given = {"knobs": list(range(len(knobs))), "paths": paths, "base": base}
    try:
        scope.table("task_runs")
        data = scope.columns("joint_rows")
        scope.table("joint_values", **given)
        scope.table("joint_names")
        told = scope.con.execute("SELECT knob, value, n FROM joint_names ORDER BY id").fetchall()
        held = scope.columns("joint_held")
    finally:
        for name in ("task_runs", "joint_values", "joint_names"):
            scope.con.execute(f"DROP TABLE IF EXISTS {name}")
    first = min(data["number"].min(initial=0), 0)  # an imported log may have rows before its baseline
    room = np.zeros(data["run"].max(initial=-1) + 2, dtype=np.int64)  # numbers that a run needs, after those before it
    np.maximum.at(room, data["run"] + 1, data["number"] - first + 1)
    start = np.cumsum(room)
    keys = start[data["run"]] + data["number"] - first
    order = np.argsort(keys)
    row = np.zeros(start[-1], dtype=np.int32)
    row[keys[order]] = np.arange(len(order))
    place = row[start[held["run"]] + held["number"] - first]
    names = [((knobs[knob].lower(), canonical(json.loads(value))), n) for knob, value, n in told]
    run = np.unique(data["run"][order], return_inverse=True)[1]  # without the numbers of runs that have no row
    return data["outcome"][order], run, names, (place, held["id"])


def _centred(
    outcome: NDArray[np.float64], run: NDArray[np.int64], held: Marks, width: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """(X'X, X'y, y'y) after taking each run's mean from the one-hot columns X and the outcomes y."""
    import numpy as np
    from scipy.sparse import csr_array

    row, column = held
    n, runs = len(outcome), int(run.max()) + 1
    x = csr_array((np.ones(len(row), dtype=np.int32), (row, column.astype(np.int32))), shape=(n, width))
    size = np.bincount(run).astype(float)
    x_sums = np.bincount(run[row] * width + column, minlength=runs * width).reshape(runs, width).astype(float)
    y_sums = np.bincount(run, weights=outcome)
    gram = np.asarray((x.T @ x).todense(), dtype=float) - (x_sums / size[:, None]).T @ x_sums
    moment = np.asarray(x.T @ outcome) - (x_sums / size[:, None]).T @ y_sums
    total = float(outcome @ outcome - (y_sums / size) @ y_sums)
    return gram, moment, total


def _ridge(gram: NDArray[np.float64], moment: NDArray[np.float64], total: float, df: int) -> NDArray[np.float64]:
    """Ridge weights at the penalty with the least generalised cross-validation error."""
    import numpy as np

    values, vectors = np.linalg.eigh(gram)
    values = np.maximum(values, 0.0)
    rotated = vectors.T @ moment

    def score(penalty: float) -> float:
        shrunk = rotated / (values + penalty)
        left = total - 2.0 * float(shrunk @ rotated) + float(shrunk @ (values * shrunk))
        free = df - float(np.sum(values / (values + penalty)))
        return left / free**2 if free > 0 else float("inf")

    best = min(PENALTIES, key=score)
    weights: NDArray[np.float64] = vectors @ (rotated / (values + best))
    return weights
