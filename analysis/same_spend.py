"""An alternative use of the same spend: the best of N stock runs, where N runs cost as much as the whole study.

A champion costs a whole search. This module estimates, from the stock runs of the study, the verified gain of spending
the same on stock runs and keeping the one script with the best claim.

Of n runs the best of m, by what they claimed, is the i-th smallest claim with probability C(i - 1, m - 1) / C(n, m)
over all samples of m without replacement; the mean verified gain by these weights is unbiased for every m <= n.
Its interval is a bootstrap over runs, which is valid only if m is a small part of the runs: above n / SHARE there is
no estimate, because it would extrapolate. ``--same-spend`` measures it instead.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from analysis.tables import rows, statement

if TYPE_CHECKING:
    import duckdb

SHARE = 2  # a best of m is estimated from at least SHARE * m runs
RESAMPLES = 2000
ROLE = "same-spend"
LONG_TPE = "long-tpe"


@dataclass(frozen=True)
class SameSpend:
    """On one task: ``spent`` device-seconds pay for ``runs`` stock runs. ``gain``: of the best of ``best_of`` of them,
    with a 95% interval; ``measured``: by real runs, else estimated from ``known`` stock runs. If ``best_of`` is smaller
    than ``runs``, the gain of the best of ``runs`` is unknown. In the task's unit; None: unknown."""

    task: str
    unit: str
    spent: float
    runs: int
    known: int
    best_of: int
    gain: float | None
    low: float | None
    high: float | None
    measured: bool


@dataclass(frozen=True)
class FoundScript:
    """The one train.py that a search ended with: its gain on fresh seeds, on data that chose nothing, with a 95%
    interval over seeds. ``search``: harvest, long-elite or long-tpe; ``seconds``: its device time, verification
    included."""

    search: str
    task: str
    unit: str
    seconds: float
    experiments: int
    gain: float | None
    low: float | None
    high: float | None
    n: int
    trust: str | None


def found_scripts(con: duckdb.DuckDBPyConnection, task: str, unit: str) -> list[FoundScript]:
    """Of an open study: the harvest first."""
    scripts = rows(con.execute(statement("found_scripts"), {"task": task}))
    return [FoundScript(task=task, unit=unit, **row) for row in scripts]


def same_spend(con: duckdb.DuckDBPyConnection, task: str, unit: str, program_id: str) -> SameSpend | None:
    """For an open study; ``program_id``: stock. The spend excludes the runs that measure this figure.

    None if nothing was spent on the task.
    """
    (total,) = rows(con.execute(statement("same_spend"), {"task": task}))
    if not total["spent"] or not total["run_budget"]:
        return None
    count = max(1, int(total["spent"] / total["run_budget"] * (1 + 1e-9)))
    shared = {"task": task, "unit": unit, "spent": total["spent"], "runs": count}
    sql = """SELECT "of", gain, low, high FROM best_of WHERE role = ? AND task = ? ORDER BY measured_at DESC LIMIT 1"""
    for row in rows(con.execute(sql, [ROLE, task])):
        figures = {key: row[key] for key in ("gain", "low", "high")}
        return SameSpend(**shared, known=row["of"], best_of=row["of"], **figures, measured=True)
    runs = rows(con.execute(statement("stock_runs"), {"task": task, "program": program_id}))
    claims, gains = ([row[key] for row in runs] for key in ("claimed_gain", "verified_gain"))
    at = min(count, len(runs) // SHARE)
    gain, low, high = best_of(claims, gains, at) if at else (None, None, None)
    return SameSpend(**shared, known=len(runs), best_of=at, gain=gain, low=low, high=high, measured=False)


def best_of(claims: Sequence[float], gains: Sequence[float], m: int) -> tuple[float, float, float]:
    """Mean verified gain of the run with the highest claim among ``m``, and its 95% interval (bootstrap over runs).

    1 <= m <= number of runs; the same runs give the same figures.
    """
    import numpy as np

    n = len(claims)
    weights = np.array(weights_of(n, m))
    sorted_gains = np.array(gains)[np.lexsort((np.arange(n), np.array(claims)))]
    rng = np.random.Generator(np.random.PCG64(n))
    drawn = np.sort(rng.integers(0, n, (RESAMPLES, n)), axis=1)  # indices in order of claims stay so when sorted
    low, high = np.quantile(sorted_gains[drawn] @ weights, (0.025, 0.975))
    return float(sorted_gains @ weights), float(low), float(high)


def weights_of(n: int, m: int) -> list[float]:
    """Probability that the i-th smallest of n is the largest of m of them, i from 1."""
    return [math.comb(i, m - 1) / math.comb(n, m) for i in range(n)]
