"""Whether to keep the last change of a log: a test in at most three looks, planned before the first (docs/judge.md).

A change without any effect is kept in at most 5% of decisions where the noise is known. `python -m bench.judge`
measures how often where it is estimated, drifts, or is that of rows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from statistics import NormalDist, fmean

from analysis.imports.noise import MeasurementNoise
from analysis.imports.runs import ImportedRun
from trainer.rows import KEPT, resolvable

KEEP, DISCARD, UNDECIDED = "keep", "discard", "undecided"
NOISE_RUNS = 4  # of one script, from which a noise is estimated where none is known


@dataclass(frozen=True)
class Look:
    """A look at the change after ``runs`` measurements of it and at least ``best_runs`` of the best script before it.
    It is kept from ``keep`` standard errors on, and discarded up to ``discard``."""

    runs: int
    best_runs: int
    keep: float
    discard: float


LOOKS = (Look(1, 1, 2.5, 0.0), Look(3, 2, 2.0, 0.8), Look(6, 4, 1.8, 1.8))


@dataclass(frozen=True)
class Decision:
    """``reason``: one of first, failed, unknown (the noise), exact (re-runs give the same number, so the noise of the
    data is unknown), looks (the planned test), rows (the gain was compared with one standard error of the rows).

    ``gain`` over the best row before it, and its ``standard_errors``; ``more_runs`` of the change and
    ``more_best_runs`` of the best row, until the next look; ``resolvable``: the gain that is significant in 80% of
    cases at the last look.
    """

    decision: str
    reason: str
    line: int = 0
    best_line: int | None = None
    gain: float | None = None
    standard_errors: float | None = None
    more_runs: int = 0
    more_best_runs: int = 0
    resolvable: float | None = None


def decide_last(run: ImportedRun) -> Decision:
    """The decision about the last row of a run that is no re-run."""
    row = next(row for row in reversed(run.rows) if row.repeats is None)
    best = row.before
    if row.metric is None:
        return Decision(DISCARD, "failed", row.line)
    if best is None:
        return Decision(KEEP, "first", row.line)
    values, best_values = run.values(row), run.values(best)
    gain = run.sign * (fmean(best_values) - fmean(values))
    decision = decide(run.noise, gain, len(values), len(best_values))
    if decision.reason == "unknown" and (run.noise.noise_df or any(row.is_exact for row in run.rows)):
        decision = replace(decision, reason="exact", more_best_runs=0)
    return replace(decision, line=row.line, best_line=best.line)


def decide(noise: MeasurementNoise, gain: float, runs: int, best_runs: int) -> Decision:
    """The decision by the difference of the means of all measurements of the change and of the best row before it."""
    error = noise.difference(gain, runs, best_runs).se
    if not error:
        return Decision(UNDECIDED, "unknown", gain=gain, more_best_runs=max(1, NOISE_RUNS - best_runs))
    last_error = noise.difference(0.0, LOOKS[-1].runs, LOOKS[-1].best_runs).se or 0.0
    decision = Decision(UNDECIDED, "looks", 0, None, gain, gain / error, resolvable=resolvable(last_error))
    is_above_rows = gain >= KEPT * math.sqrt(2) * (noise.rows_sd or 0.0)
    if noise.noise_sd is None:
        return replace(decision, decision=KEEP if is_above_rows else DISCARD, reason="rows")
    of_seeds = MeasurementNoise(noise.noise_sd, noise.noise_df).difference(gain, runs, best_runs)
    look_index = max(i for i, look in enumerate(LOOKS) if not i or (runs >= look.runs and best_runs >= look.best_runs))
    look, is_last = LOOKS[look_index], look_index == len(LOOKS) - 1
    if runs == look.runs or is_last:  # between two looks nothing is decided
        p = of_seeds.one_sided()
        if p <= _tail(look.keep) and (is_above_rows or is_last):
            return replace(
                decision, decision=KEEP if is_above_rows else DISCARD, reason="looks" if is_above_rows else "rows"
            )
        if is_last or p >= _tail(look.discard):
            return replace(decision, decision=DISCARD)
    following = LOOKS[look_index + 1]
    more = max(0, following.runs - runs), max(0, following.best_runs - best_runs)
    return replace(decision, more_runs=more[0], more_best_runs=more[1])


def _tail(standard_errors: float) -> float:
    """The probability that a normal error is larger."""
    return NormalDist().cdf(-standard_errors)
