"""The figures of a log that `metaloop judge` and `metaloop import` print: what is real, what luck alone would give, and
what to run next."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

from analysis.imports.rows import Row
from analysis.imports.runs import ImportedRun
from analysis.statistics import family_quantile
from analysis.verdict.gate import NOISE_RUNS

if TYPE_CHECKING:
    from pydantic import JsonValue

LEVEL = 0.05  # of a step's p


@dataclass(frozen=True)
class LogFigures:
    """One run of a log; docs/judge.md has the units of each key.

    ``kept``: kept rows, or new bests where no row says what was kept (``says_kept`` false). ``shown_lines``: those that
    are distinguishable from noise, None where the noise is unknown. ``low``, ``high``: the 95% interval of ``gain``,
    which also holds after the best of all tries was chosen. ``gain_after_luck``: the gain without what luck would have
    given. ``next_line``: a kept row that is not shown, the best one first, and by how many standard errors it is better
    than ``next_before``; ``next_runs`` of both, or ``next_rows`` validation rows, would show a step of this size.
    """

    name: str
    metric: str
    metric_from: str
    direction: str
    direction_from: str
    experiments: int
    kept: int
    says_kept: bool
    failed: int
    reruns: int
    exact_repeats: int
    noise_sd: float | None
    noise_df: int
    noise_sources: int
    n_rows: int | None
    rows_sd: float | None
    shown_lines: list[int] | None
    chance_keeps: float
    chance_gain: float | None
    baseline: float | None
    best: float | None
    best_line: int | None
    gain: float | None
    low: float | None
    high: float | None
    gain_after_luck: float | None
    next_line: int | None
    next_before: int | None
    next_errors: float | None
    next_runs: int | None
    next_rows: int | None
    notes: dict[str, JsonValue]


def figures_of(run: ImportedRun) -> LogFigures:
    """The figures of a run."""
    says_kept = any(row.decision == "keep" for row in run.rows)
    steps = [row for row in run.rows if row.step_gain is not None]
    kept = [row for row in run.rows if row.decision == "keep"] if says_kept else steps
    first = next((row for row in run.rows if row.decision == "baseline"), None)
    ahead = [row for row in steps if row.step_gain is not None and row.step_gain > 0.0]
    best = min(ahead, key=lambda row: run.sign * (row.metric or 0.0), default=first)
    return LogFigures(
        name=run.name, metric=run.metric, metric_from=run.metric_from,
        direction=run.direction, direction_from=run.direction_from,
        experiments=len(run.rows), kept=len(kept), says_kept=says_kept,
        failed=sum(row.status not in (None, "ok") for row in run.rows),
        reruns=sum(row.repeats is not None for row in run.rows), exact_repeats=sum(row.is_exact for row in run.rows),
        noise_sd=run.noise.noise_sd, noise_df=run.noise.noise_df, noise_sources=run.noise.noise_sources,
        n_rows=run.noise.n_rows, rows_sd=run.noise.rows_sd,
        shown_lines=[row.line for row in steps if _is_shown(row)] if run.noise.is_known else None,
        chance_keeps=sum(1 / i for i in range(2, 2 + len(run.tries))), chance_gain=run.chance_gain,
        baseline=run.baseline, best=best.metric if best else None, best_line=best.line if best else None,
        notes=run.notes, **_gain(run, first, best), **_next(run, steps, best or first),
    )  # fmt: skip


def _is_shown(row: Row) -> bool:
    return row.step_p is not None and row.step_p <= LEVEL


def _gain(run: ImportedRun, first: Row | None, best: Row | None) -> dict[str, Any]:
    """Of the best row over the first one. The lower end of the interval is corrected for all tries, the upper one need
    not be: choosing the best moves the gain up."""
    before = first or (best.before if best else None)
    if best is None or before is None or best is before:
        return dict.fromkeys(("gain", "low", "high", "gain_after_luck"))
    gain, is_repeated = run.gain(best, before), best in run.rechecks
    tests = 1 if is_repeated else max(1, len(run.tries))
    low = gain.or_zero - family_quantile(LEVEL / 2, gain.df, tests) * gain.se if gain.se else None
    luck = 0.0 if is_repeated else run.chance_gain
    after = None if luck is None else gain.or_zero - luck
    return {"gain": gain.value, "low": low, "high": gain.high, "gain_after_luck": after}


def _next(run: ImportedRun, steps: Sequence[Row], best: Row | None) -> dict[str, Any]:
    """What to run next: the row with the unknown noise, or the row whose step would be shown first."""
    figures: dict[str, Any] = dict.fromkeys(("next_line", "next_before", "next_errors", "next_runs", "next_rows"))
    if not run.noise.is_known:
        runs = 0 if best is None or run.noise.noise_df else max(1, NOISE_RUNS - len(run.values(best)))
        is_exact = any(row.is_exact for row in run.rows)
        return figures if is_exact or not runs else figures | {"next_line": best and best.line, "next_runs": runs}
    gains = [(row, run.gain(row, row.before)) for row in steps if row.before and not _is_shown(row)]
    gains = [(row, gain) for row, gain in gains if gain.or_zero > 0.0 and gain.se]
    if not gains:
        return figures
    row, gain = max(gains, key=lambda pair: (pair[0] is best, pair[1].or_zero / (pair[1].se or 1.0)))
    errors = gain.or_zero / (gain.se or 1.0)
    figures |= {"next_line": row.line, "next_before": row.before and row.before.line, "next_errors": errors}
    if run.noise.noise_sd is None:
        needed = NormalDist().inv_cdf(1 - LEVEL / len(run.tries)) / errors
        return figures | {"next_rows": math.ceil((run.noise.n_rows or 0) * needed**2)}
    tests = 2 * (1 + sum(step in run.rechecks for step in steps if step is not row))
    needed = NormalDist().inv_cdf(1 - LEVEL / tests) * run.noise.noise_sd / gain.or_zero
    return figures | {"next_runs": max(2, math.ceil(2 * needed**2))}
