"""Standings of a match: what each arm gained, how sure that is, and which ranks it may hold."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from analysis.ranks import ALPHA as ALPHA
from analysis.ranks import shown
from analysis.statistics import error_of, mean_interval, posterior, t_quantile
from analysis.tables import rows, statement
from analysis.trust import weakest

if TYPE_CHECKING:
    import duckdb


@dataclass(frozen=True)
class Standing:
    """A row of the view `standings`: one arm of a match on one task. Gains are in the metric's unit."""

    match_id: str | None
    arm_id: str | None
    program_id: str | None
    task: str | None
    n: int  # finished runs with a verified gain
    gain: float | None  # mean over them
    se: float | None  # over runs; None below two
    low: float | None
    high: float | None
    rank_low: int | None
    rank_high: int | None
    device_seconds_charged: float  # all runs of the arm, stopped ones too
    t95: float | None  # low = gain - t95 * se, high = gain + t95 * se
    shrunk_gain: float | None  # empirical-Bayes score against the other arms of the match
    shrunk_se: float | None
    claimed: float | None  # mean over the same runs of what they claimed; never ranks
    runs: int  # started
    failed_seeds: int  # verification seeds under which a final source failed
    role: str | None
    name: str | None
    words: int | None
    trust: str | None  # the weakest of its verifications
    stream: str | None
    purpose: str | None
    tokens: int | None  # of model calls, all runs of the arm
    usd: float | None  # what they cost; None where a call has no price
    utilization: float | None  # share of the runs' wall time in which an experiment ran


def standings(con: duckdb.DuckDBPyConnection) -> list[Standing]:
    """The standings of every match of a study, best first within a match; reads the views `runs`, `verifications`."""
    runs = rows(con.execute(statement("standing_runs")))
    by_match: dict[Any, list[dict[str, Any]]] = defaultdict(list)
    for run in runs:
        by_match[run["match_id"], run["task"]].append(run)
    return [standing for found in by_match.values() for standing in rank(found)]


def rank(runs: Sequence[Mapping[str, Any]]) -> list[Standing]:
    """Standings of the runs of one match on one task: rows of `runs` with `trust`, one per run."""
    arms: dict[Any, list[Mapping[str, Any]]] = defaultdict(list)
    for run in runs:
        arms[run["arm_id"]].append(run)
    gains = {arm: gains_of(found) for arm, found in arms.items()}
    ranks = rank_ranges(gains)
    scores = _posteriors(gains)
    table = [standing(found, ranks.get(arm), scores.get(arm)) for arm, found in arms.items()]
    return sorted(table, key=lambda row: (row.gain is None, -(row.gain or 0.0), row.arm_id or ""))


def rank_ranges(gains: Mapping[Any, Sequence[float]]) -> dict[Any, tuple[int, int]]:
    """arm → (best, worst) rank it may hold: 1 + arms shown better, and number of arms − arms shown worse.

    An arm is shown better than another where Welch's test tells them apart at 5%, Holm-corrected over all pairs of the
    match; an arm with one run is tied with everybody. Arms without a run are left out.
    """
    arms = [arm for arm, values in gains.items() if values]
    means = [math.fsum(gains[arm]) / len(gains[arm]) for arm in arms]
    errors = [error_of(gains[arm]) for arm in arms]
    above, below = shown(means, errors, [len(gains[arm]) for arm in arms])
    return {arm: (1 + up, len(arms) - down) for arm, up, down in zip(arms, above, below, strict=True)}


def gains_of(runs: Sequence[Mapping[str, Any]]) -> list[float]:
    """The verified gains of those runs that count."""
    return [r["verified_gain"] for r in runs if _counts(r)]


def standing(
    runs: Sequence[Mapping[str, Any]],
    ranks: tuple[int, int] | None = None,
    score: tuple[float, float] | None = None,
) -> Standing:
    """The standing of one arm, from its rows of `runs`; what depends on other arms is brought along."""
    first = runs[0]
    mean = mean_interval(gains_of(runs))
    claims = [r["claimed_gain"] for r in runs if _counts(r) and r["claimed_gain"] is not None]
    return Standing(
        match_id=first["match_id"],
        arm_id=first["arm_id"],
        program_id=first["program_id"],
        task=first["task"],
        n=mean.n,
        gain=mean.mean,
        se=mean.se,
        low=mean.low,
        high=mean.high,
        rank_low=ranks[0] if ranks else None,
        rank_high=ranks[1] if ranks else None,
        device_seconds_charged=sum(r["device_seconds_charged"] or 0.0 for r in runs),
        t95=t_quantile(0.975, mean.n - 1) if mean.n > 1 else None,
        shrunk_gain=score[0] if score else None,
        shrunk_se=score[1] if score else None,
        claimed=_mean(claims) if claims else None,
        runs=len(runs),
        failed_seeds=sum(r["failed_seeds"] for r in runs if _counts(r)),
        role=first["role"],
        name=first["name"],
        words=first["words"],
        trust=weakest(r["trust"] for r in runs if _counts(r)),
        stream="/".join(sorted({r["score_stream"] for r in runs if r["score_stream"]})) or first["stream"],
        purpose=first["purpose"],
        tokens=sum(r["tokens"] or 0 for r in runs),
        usd=None if any(r["usd"] is None and r["tokens"] for r in runs) else math.fsum(r["usd"] or 0.0 for r in runs),
        utilization=_utilization(runs),
    )


def _utilization(runs: Sequence[Mapping[str, Any]]) -> float | None:
    timed = [r for r in runs if r["wall_seconds"] and r["experiment_wall_seconds"] is not None]
    wall = sum(r["wall_seconds"] for r in timed)
    return sum(r["experiment_wall_seconds"] for r in timed) / wall if wall else None


def _posteriors(gains: Mapping[Any, Sequence[float]]) -> dict[Any, tuple[float, float]]:
    arms = [arm for arm, values in gains.items() if values]
    means = [mean_interval(gains[arm]) for arm in arms]
    shrunk = posterior([m.mean or 0.0 for m in means], [m.se for m in means], [m.n for m in means])
    return {arm: (p.shrunk_mean, p.shrunk_se) for arm, p in zip(arms, shrunk, strict=True)}


def _counts(run: Mapping[str, Any]) -> bool:
    """A run stopped early counts for nothing but its spend; a finished one counts once it is verified, unless the host
    of its contest has declared the entry void."""
    return not run.get("void") and run["state"] == "finished" and run["verified_gain"] is not None


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
