"""What single changes of the source earned, over all runs; this orders the ideas of a program.

Two estimates stand side by side. `estimate`: mean gain of the tries that made just this change to their parent, same
run, same seed; a try that crashed, timed out, ran out of memory or was invalid earns 0. `joint_estimate`: the change's
main effect in a ridge regression of all full experiments on their whole configuration, with an intercept per run, times
the share of its tries that ran; it also learns from tries that changed several things at once.
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
    groups: dict[Key, list[dict[str, Any]]] = defaultdict(list)
    for found in scope.rows("single_edits"):
        groups[found["key"], canonical(found["value_json"])].append(found)
    joint = joint_effects(scope) if groups else {}
    drafts = [(key, runs, *_earned(runs)) for key, runs in groups.items()]
    qs = bh([t_test(mean, se, len(runs) - 1) for _, runs, mean, se in drafts])
    credits = [
        _credit(scope, key, runs, mean, se, q, joint.get(key))
        for (key, runs, mean, se), q in zip(drafts, qs, strict=True)
    ]
    return sorted(credits, key=lambda c: (-c.score, c.label))


def joint_effects(scope: Scope) -> dict[Key, float]:
    """(knob, value) → main effect against the baseline's value × share of its tries that ran, in metric units.

    Ridge on one-hot values that differ from the baseline's, centred within runs; the penalty is chosen by generalised
    cross-validation (Golub, Heath and Wahba 1979). A value that never ran earns 0.
    """
    import numpy as np

    ran = {(r["key"], canonical(r["value_json"])): r["ran"] for r in scope.rows("tried_values")}
    effects = {key: 0.0 for key, share in ran.items() if share == 0.0}
    scope.con.execute(
        "CREATE OR REPLACE TEMP TABLE joint_rows AS " + scope.text("joint_rows"), scope.given("joint_rows")
    )
    data = scope.con.execute("SELECT run, outcome FROM joint_rows ORDER BY row").fetchnumpy()
    outcome, run = np.asarray(data["outcome"], dtype=float), np.asarray(data["run"], dtype=np.int64)
    held = scope.con.execute(scope.text("joint_values"), scope.given("joint_values")).fetchall()
    scope.con.execute("DROP TABLE joint_rows")
    if not held:
        return effects
    texts = {value: canonical(json.loads(value)) for value in {value for _, _, value in held}}
    counts = Counter((knob, texts[value]) for _, knob, value in held)
    column = {name: index for index, (name, _) in enumerate(sorted(counts.most_common(MAX_VALUES)))}
    known = [(r, column[name]) for r, knob, value in held if (name := (knob, texts[value])) in column]
    gram, moment, total = _centred(outcome, run, np.asarray(known, dtype=np.int64), len(column))
    weights = _ridge(gram, moment, total, len(outcome) - len(np.unique(run)))
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


def _earned(runs: list[dict[str, Any]]) -> tuple[float, float | None]:
    return clustered_mean([r["earned"] for r in runs], [r["tries"] for r in runs])


def _credit(
    scope: Scope, key: Key, runs: list[dict[str, Any]], mean: float, se: float | None, q: float | None,
    joint: float | None,
) -> EditCredit:  # fmt: skip
    low, high = interval(mean, se, len(runs) - 1)
    value: Value = runs[0]["value_json"]
    knob, patch = runs[0]["knob"], any(r["patch"] for r in runs)
    return EditCredit(
        credit_id=content_id("c", "edit", scope.task, *key),
        task=scope.task,
        estimate=mean,
        se=se,
        low=low,
        high=high,
        n=sum(r["tries"] for r in runs),
        q=q,
        design="observational" if any(r["chosen"] for r in runs) else "randomised",
        unit=scope.unit,
        knob=knob,
        value=value,
        label=f"+{knob}" if patch else f"{knob.lower()}={plain(value)}",
        failures=sum(r["failures"] for r in runs),
        runs=len(runs),
        joint_estimate=joint,
        device_seconds=sum(r["seconds"] for r in runs),
    )
