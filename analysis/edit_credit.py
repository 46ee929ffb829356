"""What single changes of the source earned, over all runs; this orders the ideas of a program.

Two estimates stand side by side. `estimate`: mean gain of the tries that made just this change to their parent, same
run, same seed; a try that crashed, timed out, ran out of memory or was invalid earns 0. `joint_estimate`: the change's
main effect against the baseline's value, in a ridge regression of all full experiments on their whole configuration
with an intercept per run, times the share of its tries that ran; it also learns from tries that changed several things.
In both a loss counts as at most the best gains seen: a script that diverged is thrown away, however bad it is.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from analysis.credit import EditCredit, Value, plain
from analysis.joint_effects import Key, canonical, joint_effects
from analysis.scope import Scope
from analysis.statistics import bh, clustered_mean, interval, t_test
from programs.ids import content_id

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def edit_credits(scope: Scope) -> list[EditCredit]:
    """One row per (knob, value) that was tried as a single change, best `score` first."""
    tried = [_merged(found) for found in _same(_tried(scope)).values()]
    joint = joint_effects(scope) if tried else {}
    means = [clustered_mean(t["earned"], t["tries"]) for t in tried]
    qs = bh([t_test(*mean, len(t["tries"]) - 1) for t, mean in zip(tried, means, strict=True)])
    credits = [
        _credit(scope, t, *mean, q, joint.get((t["key"], canonical(t["value"]))))
        for t, mean, q in zip(tried, means, qs, strict=True)
    ]
    return sorted(credits, key=lambda c: (-c.score, c.label))


def _tried(scope: Scope) -> list[dict[str, Any]]:
    """Per single change (knob, value) what its tries earned and how many there were, a list entry per run."""
    import numpy as np

    try:
        scope.table("task_runs")
        scope.table("single_values")
        values = scope.con.execute("SELECT key, value_text, knob, patch FROM single_values ORDER BY id").fetchall()
        found = scope.columns("single_edits")
    finally:
        for name in ("task_runs", "single_values"):
            scope.con.execute(f"DROP TABLE IF EXISTS {name}")
    order = np.lexsort((found["number"], found["run"], found["id"]))
    cells = np.stack([found["id"][order], found["run"][order]])
    starts = np.flatnonzero(np.any(np.diff(cells, axis=1, prepend=-1), axis=0))  # of the tries of one change in a run
    sums = {name: _sums(found[name][order], starts) for name in ("earned", "seconds", "failed", "chosen")}
    counts = np.diff(starts, append=len(order))
    ends = np.searchsorted(cells[0][starts], np.arange(len(values) + 1))
    rows = []
    for (key, text, knob, patch), start, end in zip(values, ends, ends[1:], strict=False):
        own = slice(start, end)
        rows.append({
            "key": key, "knob": knob, "value": json.loads(text), "patch": patch,
            "earned": sums["earned"][own].tolist(), "tries": counts[own].tolist(),
            "failures": int(sums["failed"][own].sum()), "chosen": int(sums["chosen"][own].sum()),
            "seconds": math.fsum(sums["seconds"][own]),
        })  # fmt: skip
    return [row for row in rows if row["tries"]]


def _sums(values: NDArray[Any], starts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Sums from each start to the next one."""
    import numpy as np

    return np.add.reduceat(values.astype(float), starts) if len(starts) else np.zeros(0)


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
