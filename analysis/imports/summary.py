"""Totals of an import over all its runs; every figure is a sum over rows of the view `imports`."""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from analysis.imports.load import RunOfLog
from analysis.imports.study import Imported

if TYPE_CHECKING:
    from pydantic import JsonValue

HIDDEN = ("kind", "digest", "noise")


@dataclass(frozen=True)
class QuarterTotals:
    """A quarter of the tries of every run."""

    tried: int
    kept: int
    keep_rate: float | None
    gain: float | None


@dataclass(frozen=True)
class MetricTotals:
    """The runs with one metric and direction."""

    metric: str | None
    direction: str
    runs: int
    claimed_gain_median: float | None
    claimed_gain_best: float | None
    rerun_gain_median: float | None


@dataclass(frozen=True)
class NoiseTotals:
    """Kept steps that noise explains, if it is known, and the number a loop without any effect would keep. New bests
    are steps, too, in logs that do not say what was kept."""

    runs_known: int
    runs_unknown: int
    steps_where_known: int
    kept_steps_explained: int | None
    share_of_gain_median: float | None
    steps: int
    kept_by_chance: float


@dataclass(frozen=True)
class CategoryTotals:
    category: str
    tried: int
    kept: int
    failed: int
    keep_rate: float
    gain: float | None
    share_of_gain: float | None


@dataclass(frozen=True)
class ImportSummary:
    """Totals of an import. Gains are in metric units if all runs have one metric, else None; shares are of runs."""

    study: str
    study_id: str
    logs: int
    imported_logs: int
    duplicate_logs: int
    refused_logs: int
    unsure_logs: int
    empty_logs: int
    runs: int
    programs: int
    rows: int
    quarantined: int
    tried: int
    kept: int
    new_bests: int  # in logs that do not say what was kept
    discarded: int
    failed: int
    keep_rate: float | None  # of the logs that say it
    keep_rate_by_quarter: list[QuarterTotals]
    metrics: list[MetricTotals]
    noise: NoiseTotals
    contradictions: dict[str, int]
    categories: list[CategoryTotals]
    commits_joined: int
    trust: str = "self-reported"


def summary(done: Imported) -> ImportSummary:
    runs = done.runs
    figures = [run.figures for run in runs]
    states = Counter(log.state for log in {log.path: log for log in done.logs}.values())
    kept, tried = sum(f.kept for f in figures), sum(f.tried for f in figures)
    decided = sum(f.tried for f in figures if f.decided)
    return ImportSummary(
        study=str(done.folder), study_id=done.study_id, logs=sum(states.values()), imported_logs=states["imported"],
        duplicate_logs=states["duplicate"], refused_logs=states["refused"], unsure_logs=states["unsure"],
        empty_logs=states["empty"], runs=len(runs), programs=done.programs,
        rows=sum(run.rows + run.merged_rows for run in runs), quarantined=sum(log.quarantined for log in done.logs),
        tried=tried, kept=kept, new_bests=sum(f.new_bests for f in figures),
        discarded=sum(f.discarded for f in figures), failed=sum(f.failed for f in figures),
        keep_rate=kept / decided if decided else None, keep_rate_by_quarter=_quarters(runs), metrics=_metrics(runs),
        noise=_noise(runs), contradictions=dict(sum((Counter(f.contradictions) for f in figures), Counter())),
        categories=_categories(runs), commits_joined=sum(run.commits_joined for run in runs),
    )  # fmt: skip


def listed(done: Imported) -> list[dict[str, JsonValue]]:
    """The rows of `imports` for JSON output."""
    return [{key: value for key, value in log.event.items() if key not in HIDDEN} for log in done.logs]


def _one_metric(runs: Sequence[RunOfLog]) -> bool:
    """Whether the gains of these runs are in one unit."""
    return len({(run.metric, run.direction) for run in runs}) == 1


def _categories(runs: Sequence[RunOfLog]) -> list[CategoryTotals]:
    """Categories over all runs, the one with the largest share of the kept gain first."""
    totals: dict[str, Counter[str]] = defaultdict(Counter)
    gains: dict[str, float] = defaultdict(float)
    shares: dict[str, float] = defaultdict(float)
    gaining = 0
    for run in runs:
        total = sum(item.gain for item in run.figures.categories)
        gaining += total > 0.0
        for item in run.figures.categories:
            totals[item.category].update(tried=item.tried, kept=item.kept, failed=item.failed)
            gains[item.category] += item.gain
            shares[item.category] += item.gain / total if total > 0.0 else 0.0
    rows = [
        CategoryTotals(
            name,
            n["tried"],
            n["kept"],
            n["failed"],
            n["kept"] / n["tried"],
            gains[name] if _one_metric(runs) else None,
            shares[name] / gaining if gaining else None,
        )
        for name, n in totals.items()
    ]
    return sorted(rows, key=lambda r: (-(r.share_of_gain or 0.0), -r.kept, -r.tried, r.category))


def _quarters(runs: Sequence[RunOfLog]) -> list[QuarterTotals]:
    """Counts of tried and kept rows by quarter, over all runs."""
    out = []
    for parts in zip(*(run.figures.parts for run in runs), strict=True):
        tried, kept = sum(p.tried for p in parts), sum(p.kept for p in parts)
        decided = sum(part.tried for part, run in zip(parts, runs, strict=True) if run.figures.decided)
        gain = sum(p.gain for p in parts) if _one_metric(runs) else None
        out.append(QuarterTotals(tried, kept, kept / decided if decided else None, gain))
    return out


def _metrics(runs: Sequence[RunOfLog]) -> list[MetricTotals]:
    groups: dict[tuple[str | None, str], list[RunOfLog]] = defaultdict(list)
    for run in runs:
        groups[run.metric, run.direction].append(run)
    rows = []
    for (metric, way), some in groups.items():
        gains = [run.figures.claimed_gain for run in some if run.figures.claimed_gain is not None]
        again = [run.figures.rerun_gain for run in some if run.figures.rerun_gain is not None]
        best = max(gains, default=None)
        rows.append(MetricTotals(metric, way, len(some), _median(gains), best, _median(again)))
    return sorted(rows, key=lambda r: (-r.runs, r.metric or ""))


def _noise(runs: Sequence[RunOfLog]) -> NoiseTotals:
    known = [run.figures for run in runs if run.figures.noise.sd is not None]
    return NoiseTotals(
        runs_known=len(known),
        runs_unknown=len(runs) - len(known),
        steps_where_known=sum(f.kept + f.new_bests for f in known),
        kept_steps_explained=sum(f.noise_steps or 0 for f in known) if known else None,
        share_of_gain_median=_median([f.noise_share for f in known if f.noise_share is not None]),
        steps=sum(run.figures.kept + run.figures.new_bests for run in runs),
        kept_by_chance=sum(run.figures.chance_keeps for run in runs),
    )


def _median(values: Sequence[float]) -> float | None:
    return statistics.median(values) if values else None
