"""What single changes of the source earned, over all runs; this orders the ideas of a program.

Two estimates stand side by side. `estimate`: mean gain of the tries that made just this change to their parent, same
run, same seed; a try that crashed, timed out, ran out of memory or was invalid earns 0. `joint_estimate`: the change's
main effect against the baseline's value, in a ridge regression of all full experiments on their whole configuration
with an intercept per run, times the share of its tries that ran; it also learns from tries that changed several things.
In both a loss counts as at most the best gains seen: a script that diverged is thrown away, however bad it is.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

from analysis.credit import EditCredit, Value, plain
from analysis.scope import Scope
from analysis.statistics import bh, clustered_mean, interval, t_test
from programs.ids import content_id

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Key = tuple[str, str]  # (knob in lower case, value in its one canonical text)
MAX_VALUES = 400  # of the joint model: the most often seen ones; a task declares a few dozen
PENALTIES = tuple(10.0**k for k in (-3, -2, -1.5, -1, -0.5, 0, 0.5, 1, 1.5, 2))


def edit_credits(scope: Scope) -> list[EditCredit]:
    """One row per (knob, value) that was tried as a single change, best `score` first."""
    tried = [_merged(found) for found in _same(scope.rows("single_edits")).values()]
    joint = joint_effects(scope) if tried else {}
    means = [clustered_mean(t["earned"], t["tries"]) for t in tried]
    qs = bh([t_test(*mean, len(t["tries"]) - 1) for t, mean in zip(tried, means, strict=True)])
    credits = [
        _credit(scope, t, *mean, q, joint.get((t["key"], canonical(t["value"]))))
        for t, mean, q in zip(tried, means, qs, strict=True)
    ]
    return sorted(credits, key=lambda c: (-c.score, c.label))


def joint_effects(scope: Scope) -> dict[Key, float]:
    """(knob, value) → main effect against the baseline's value × share of its tries that ran, in metric units.

    Ridge on one-hot values that differ from the baseline's, centred within runs; the penalty is chosen by generalised
    cross-validation (Golub, Heath and Wahba 1979). A value that never ran earns 0, and so does the baseline's own.
    """
    import numpy as np

    ran = {(r["key"], canonical(r["value_json"])): r["ran"] for r in scope.rows("tried_values")}
    effects = {key: 0.0 for key, share in ran.items() if share == 0.0}
    effects |= {(r["key"], canonical(r["value"])): 0.0 for r in scope.rows("baseline_values")}
    for table in ("joint_rows", "joint_values"):
        scope.con.execute(f"CREATE OR REPLACE TEMP TABLE {table} AS {scope.text(table)}", scope.given(table))
    data = scope.con.execute("SELECT run, outcome FROM joint_rows ORDER BY row").fetchnumpy()
    held = scope.con.execute("SELECT row, id FROM joint_values ORDER BY row, id").fetchnumpy()
    counted = "SELECT id, key, value_json, count(*) FROM joint_values GROUP BY ALL ORDER BY id"
    pairs = scope.con.execute(counted).fetchall()
    scope.con.execute("DROP TABLE joint_values; DROP TABLE joint_rows")
    if not pairs:
        return effects
    names = {number: (knob.lower(), canonical(json.loads(value))) for number, knob, value, _ in pairs}
    counts: Counter[Key] = Counter()
    for number, _, _, count in pairs:
        counts[names[number]] += count
    column = {name: index for index, (name, _) in enumerate(sorted(counts.most_common(MAX_VALUES)))}
    columns = np.array([column.get(names[number], -1) for number in range(len(names))])
    place = columns[np.asarray(held["id"], dtype=np.int64)]
    marks = np.column_stack([np.asarray(held["row"], dtype=np.int64), place])[place >= 0]
    run = np.asarray(data["run"], dtype=np.int64)
    gram, moment, total = _centred(np.asarray(data["outcome"], dtype=float), run, marks, len(column))
    weights = _ridge(gram, moment, total, len(run) - len(np.unique(run)))
    return effects | {name: float(weights[i]) * ran.get(name, 1.0) for name, i in column.items()}


def canonical(value: Value) -> str:
    """One text for one value: a constant set to 2 and one that reads 2.0 hold the same."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return f"{value:.12g}" if number else json.dumps(value)


def _centred(
    outcome: NDArray[np.float64], run: NDArray[np.int64], held: NDArray[np.int64], width: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """(X'X, X'y, y'y) after taking each run's mean from the one-hot columns X and the outcomes y."""
    import numpy as np
    from scipy.sparse import csr_array

    n = len(outcome)
    x = csr_array((np.ones(len(held)), (held[:, 0], held[:, 1])), shape=(n, width))
    member = csr_array((np.ones(n), (run, np.arange(n))), shape=(int(run.max()) + 1, n))
    size = np.bincount(run).astype(float)
    x_sums, y_sums = np.asarray((member @ x).todense()), np.bincount(run, weights=outcome)
    gram = np.asarray((x.T @ x).todense()) - (x_sums / size[:, None]).T @ x_sums
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


def _same(rows: list[dict[str, Any]]) -> dict[Key, list[dict[str, Any]]]:
    """Rows by knob and value; the same number written in two ways is one value."""
    groups: dict[Key, list[dict[str, Any]]] = defaultdict(list)
    for found in rows:
        groups[found["key"], canonical(found["value"])].append(found)
    return groups


def _merged(rows: list[dict[str, Any]]) -> dict[str, Any]:
    sums = {name: sum(row[name] for row in rows) for name in ("failures", "chosen", "seconds")}
    lists = {name: [item for row in rows for item in row[name]] for name in ("earned", "tries")}
    return rows[0] | sums | lists


def _credit(
    scope: Scope, tried: dict[str, Any], mean: float, se: float | None, q: float | None, joint: float | None
) -> EditCredit:  # fmt: skip
    low, high = interval(mean, se, len(tried["tries"]) - 1)
    value: Value = tried["value"]
    return EditCredit(
        credit_id=content_id("c", "edit", scope.task, tried["key"], canonical(value)),
        task=scope.task,
        estimate=mean,
        se=se,
        low=low,
        high=high,
        n=sum(tried["tries"]),
        q=q,
        design="observational" if tried["chosen"] else "randomised",
        unit=scope.unit,
        knob=tried["knob"],
        value=value,
        label=f"+{tried['knob']}" if tried["patch"] else f"{tried['key']}={plain(value)}",
        failures=tried["failures"],
        runs=len(tried["tries"]),
        joint_estimate=joint,
        device_seconds=tried["seconds"],
    )
