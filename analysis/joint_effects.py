"""Main effects of values against the baseline's, from all full experiments of a task on their whole configurations."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

from analysis.credit import Value
from analysis.scope import Scope
from analysis.settings import settings

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
    if not len(held[0]):
        return effects
    counts: Counter[Key] = Counter()
    for name, count in names:
        if count:
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

    settings(scope.con)
    try:
        scope.table("task_runs")
        told = scope.con.execute("SELECT place, run FROM task_runs").fetchall()
        data, held, names = scope.columns("joint_rows"), scope.columns("joint_held"), scope.rows("joint_names")
    finally:
        scope.con.execute("DROP TABLE IF EXISTS task_runs")
    places, ranks = np.array(told, dtype=np.int64).reshape(-1, 2).T
    rank = np.zeros(places.max(initial=0) + 1, dtype=np.int64)
    rank[places] = ranks
    order, row = _found(data["run"], data["number"], rank[held["run"]], held["number"])
    run = np.unique(data["run"][order], return_inverse=True)[1]  # without the numbers of runs that have no row
    marks = (row[row >= 0], held["id"][row >= 0] - (names[0]["id"] if names else 0))
    counts = np.bincount(marks[1], minlength=len(names)).tolist()
    values = [((r["knob"].lower(), canonical(json.loads(r["value"]))), n) for r, n in zip(names, counts, strict=True)]
    return data["outcome"][order], run, values, marks


def _found(
    run: NDArray[np.int64], number: NDArray[np.int64], of_run: NDArray[np.int64], of_number: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(order of the pairs of run and number, place in it of each of the other pairs, -1 where it is not among them)."""
    import numpy as np

    first = min(number.min(initial=0), 0)  # an imported log may have rows before its baseline
    room = np.zeros(max(run.max(initial=0), of_run.max(initial=0)) + 2, dtype=np.int64)
    np.maximum.at(room, run + 1, number - first + 1)  # numbers that a run needs, after those of the runs before it
    start = np.cumsum(room)
    order = np.argsort(start[run] + number - first)
    places = np.full(start[-1] + 1, -1)
    places[(start[run] + number - first)[order]] = np.arange(len(order))
    known = (of_number >= first) & (of_number - first < room[of_run + 1])
    return order, places[np.where(known, start[of_run] + of_number - first, -1)]


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
