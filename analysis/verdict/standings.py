"""Standings of a match: the gain of each arm, its interval, and its range of ranks."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from analysis.statistics import Estimate, error_of, mean_interval, posterior, satterthwaite, t_quantile
from analysis.views.tables import statement, typed_rows
from trainer.trust import weakest

if TYPE_CHECKING:
    import duckdb
    import numpy as np

    Array = np.ndarray[Any, np.dtype[Any]]

ALPHA = 0.05  # of the ranks, over all pairs of a match
TESTS = "Welch's t tests at 5%, Holm-corrected for all pairs"
UNDECIDED = f"Too few runs to separate these programs ({TESTS})."
SLACK = 1 - 1e-6  # of a bound: more than the rounding error
ArmKey = TypeVar("ArmKey")


@dataclass(frozen=True)
class StandingRun:
    """A run of a match: the columns of the view `runs` that the standings use."""

    match_id: str | None
    arm_id: str | None
    program_id: str | None
    task: str | None
    stream: str | None
    state: str
    claimed_gain: float | None
    verified_gain: float | None
    failed_seeds: int
    trust: str | None
    device_seconds_charged: float | None
    tokens: int | None
    usd: float | None
    wall_seconds: float | None
    experiment_wall_seconds: float | None
    score_stream: str | None
    role: str | None
    name: str | None
    words: int | None
    purpose: str | None
    void: bool = False  # the host of its contest has declared the entry void

    @property
    def counted_gain(self) -> float | None:
        """The gain to count: None for a run that was stopped early, is not verified or is void."""
        return self.verified_gain if self.state == "finished" and not self.void else None


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
    shrunk_gain: float | None  # empirical-Bayes mean, shrunk towards the other arms of the match
    shrunk_se: float | None
    claimed: float | None  # mean claim of the same runs; not used for ranking
    runs: int  # started
    failed_seeds: int  # verification seeds under which a final source failed
    role: str | None
    name: str | None
    words: int | None
    trust: str | None  # the weakest of its verifications
    stream: str | None
    purpose: str | None
    tokens: int | None  # of model calls, all runs of the arm
    usd: float | None  # their cost; None if a call has no price
    utilization: float | None  # share of the runs' wall time in which an experiment ran


def standings(con: duckdb.DuckDBPyConnection) -> list[Standing]:
    """The standings of every match of a study, best first within a match; reads the views `runs`, `verifications`."""
    by_match: dict[tuple[str | None, str | None], list[StandingRun]] = defaultdict(list)
    for run in typed_rows(con.execute(statement("verdict/standing_runs")), StandingRun):
        by_match[run.match_id, run.task].append(run)
    return [standing for runs in by_match.values() for standing in rank(runs)]


def rank(runs: Sequence[StandingRun]) -> list[Standing]:
    """Standings of the runs of one match on one task."""
    arms: dict[str | None, list[StandingRun]] = defaultdict(list)
    for run in runs:
        arms[run.arm_id].append(run)
    gains = {arm: counted_gains(played) for arm, played in arms.items()}
    ranks = rank_ranges(gains)
    scores = _posteriors(gains)
    table = [standing(played, ranks.get(arm), scores.get(arm)) for arm, played in arms.items()]
    return sorted(table, key=lambda row: (row.gain is None, -(row.gain or 0.0), row.arm_id or ""))


def rank_ranges(gains: Mapping[ArmKey, Sequence[float]]) -> dict[ArmKey, tuple[int, int]]:
    """arm → (best, worst) possible rank: 1 + number of better arms, and number of arms − number of worse arms.

    Better and worse mean a significant difference by Welch's test at 5%, Holm-corrected over all pairs of the match; an
    arm with one run is tied with all others. Arms without a run are left out.
    """
    arms = [arm for arm, values in gains.items() if values]
    means = [math.fsum(gains[arm]) / len(gains[arm]) for arm in arms]
    errors = [error_of(gains[arm]) for arm in arms]
    above, below = better_and_worse(means, errors, [len(gains[arm]) for arm in arms])
    return {arm: (1 + up, len(arms) - down) for arm, up, down in zip(arms, above, below, strict=True)}


def better_and_worse(means: Sequence[float], errors: Sequence[float], ns: Sequence[int]) -> tuple[list[int], list[int]]:
    """(number of significantly better arms, of worse arms) per arm, from means, variances of the mean, runs ≥ 1.

    Holm (1979) rejects the r-th smallest p of m if (m - r + 1) p < ALPHA, and stops at the first that is not. At most
    those pairs are rejected whose normal p is below ALPHA, so that a t above this bound is enough to look at.
    """
    import numpy as np
    from scipy.special import ndtri, stdtr

    tested = np.asarray([i for i in np.argsort(means, kind="stable")[::-1] if ns[i] > 1], int)
    mean, error, free = np.asarray(means)[tested], np.asarray(errors)[tested], np.asarray(ns)[tested] - 1.0

    def below(i: int, least: float) -> Array:
        apart, total = mean[i] - mean[i + 1 :], error[i] + error[i + 1 :]
        return np.asarray(i + 1 + np.flatnonzero((apart > 0.0) & (apart**2 > least * total)))

    pairs, arms = math.comb(len(means), 2), range(len(tested))
    most = sum(len(below(i, ndtri(ALPHA / 2) ** 2 * SLACK)) for i in arms)
    limit = ALPHA / (pairs - most + 1)
    ps, upper, lower = [np.zeros(0)], [np.zeros(0, int)], [np.zeros(0, int)]
    for i in arms:
        j = below(i, ndtri(limit / 2) ** 2 * SLACK)
        apart, total = mean[i] - mean[j], error[i] + error[j]
        with np.errstate(divide="ignore", invalid="ignore"):
            df = satterthwaite([(error[i], free[i]), (error[j], free[j])])
            p = np.where(total > 0.0, 2.0 * stdtr(df, -apart / np.sqrt(total)), 0.0)
        ps.append(p[p < limit])
        lower.append(tested[j[p < limit]])
        upper.append(np.full(len(lower[-1]), tested[i]))
    p = np.concatenate(ps)
    order = np.argsort(p, kind="stable")
    open_ = np.flatnonzero((pairs - np.arange(len(p))) * p[order] >= ALPHA)
    shown = order[: open_[0]] if len(open_) else order
    worse, better = (np.bincount(np.concatenate(side)[shown], minlength=len(means)) for side in (upper, lower))
    return better.tolist(), worse.tolist()


def counted_gains(runs: Sequence[StandingRun]) -> list[float]:
    """The verified gains of those runs that count."""
    return [run.counted_gain for run in runs if run.counted_gain is not None]


def standing(
    runs: Sequence[StandingRun], ranks: tuple[int, int] | None = None, score: Estimate | None = None
) -> Standing:
    """The standing of one arm, from its runs; ``ranks`` and ``score`` depend on the other arms."""
    first = runs[0]
    mean = mean_interval(counted_gains(runs))
    counted = [r for r in runs if r.counted_gain is not None]
    claims = [r.claimed_gain for r in counted if r.claimed_gain is not None]
    return Standing(
        match_id=first.match_id,
        arm_id=first.arm_id,
        program_id=first.program_id,
        task=first.task,
        n=mean.n,
        gain=mean.value,
        se=mean.se,
        low=mean.low,
        high=mean.high,
        rank_low=ranks[0] if ranks else None,
        rank_high=ranks[1] if ranks else None,
        device_seconds_charged=sum(r.device_seconds_charged or 0.0 for r in runs),
        t95=t_quantile(0.975, mean.n - 1) if mean.n > 1 else None,
        shrunk_gain=score.value if score else None,
        shrunk_se=score.se if score else None,
        claimed=_mean(claims) if claims else None,
        runs=len(runs),
        failed_seeds=sum(r.failed_seeds for r in counted),
        role=first.role,
        name=first.name,
        words=first.words,
        trust=weakest(r.trust for r in counted),
        stream="/".join(sorted({r.score_stream for r in runs if r.score_stream})) or first.stream,
        purpose=first.purpose,
        tokens=sum(r.tokens or 0 for r in runs),
        usd=None if any(r.usd is None and r.tokens for r in runs) else math.fsum(r.usd or 0.0 for r in runs),
        utilization=_utilization(runs),
    )


def _utilization(runs: Sequence[StandingRun]) -> float | None:
    timed = [
        (r.wall_seconds, r.experiment_wall_seconds)
        for r in runs
        if r.wall_seconds and r.experiment_wall_seconds is not None
    ]
    wall = sum(seconds for seconds, _ in timed)
    return sum(busy for _, busy in timed) / wall if wall else None


def _posteriors(gains: Mapping[ArmKey, Sequence[float]]) -> dict[ArmKey, Estimate]:
    arms = [arm for arm, values in gains.items() if values]
    scores = posterior([mean_interval(gains[arm]) for arm in arms])
    return {arm: score.shrunk for arm, score in zip(arms, scores, strict=True)}


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
