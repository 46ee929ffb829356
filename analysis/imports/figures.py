"""The figures of one imported run: gain, keep rate over time, the share of noise, categories, contradictions."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from analysis.imports.judge import Judged, Judgement
from analysis.imports.noise import MeasurementNoise, chance_gain, chance_keeps, is_explained, spread

PARTS = 4  # of a log, in order, for the keep rate over time


@dataclass(frozen=True)
class QuarterFigures:
    """A quarter of a run's tries."""

    tried: int
    kept: int
    gain: float  # of its kept steps


@dataclass(frozen=True)
class CategoryFigures:
    """The results of one category. ``gain``: sum of the steps of the kept ones, metric units."""

    category: str
    tried: int
    kept: int
    failed: int
    gain: float


@dataclass(frozen=True)
class Figures:
    """All figures of a run. Gains are in metric units, positive is better; None if unknown."""

    tried: int
    kept: int
    new_bests: int  # where the log has no keep statuses; gains and steps are then those of the new bests
    discarded: int
    failed: int
    undecided: int
    decided: bool
    baseline: float | None
    baseline_from: str
    best_kept: float | None
    best_measured: float | None
    claimed_gain: float | None  # best kept minus baseline
    rerun_gain: float | None  # the same, with the mean of the re-runs for rows that were measured again
    best_line: int | None
    parts: tuple[QuarterFigures, ...]
    noise: MeasurementNoise
    noise_steps: int | None  # kept steps that noise can explain (noise.LEVEL)
    chance_keeps: float  # expected kept steps for as many tries of pure noise
    chance_gain: float | None  # expected gain of the best of as many tries of pure noise
    categories: tuple[CategoryFigures, ...]
    contradictions: dict[str, int]
    reruns: int

    @property
    def noise_share(self) -> float | None:
        """The expected gain from noise alone as a share of the claimed gain; at most 1."""
        if self.chance_gain is None or not self.claimed_gain or self.claimed_gain <= 0.0:
            return None
        return min(1.0, self.chance_gain / self.claimed_gain)


def figures(judged: Judgement, stated: float | None = None) -> Figures:
    """The figures of a judged run; ``stated``: the SD of one measurement, given by the user."""
    rows, sign = judged.rows, judged.sign
    tries = [item for item in rows if item.decision != "baseline" and _was_run(item)]
    leading = [item for item in tries if item.leads]
    measured = [item for item in rows if item.metric is not None]
    base = judged.base
    best = _best([i for i in measured if i.decision == "baseline" or i.leads], sign)
    noise = _noise(judged) if stated is None else MeasurementNoise(stated, 0, "stated")
    ran = sum(item.metric is not None and item.again is None for item in tries)
    return Figures(
        tried=len(tries),
        kept=sum(item.kept for item in tries),
        new_bests=sum(item.new_best for item in tries),
        discarded=sum(item.decision == "discard" and item.row.status == "ok" for item in tries),
        failed=sum(item.row.status not in ("ok", None) for item in tries),
        undecided=sum(item.decision is None for item in rows),
        decided=judged.decided,
        baseline=base,
        baseline_from=judged.baseline_from,
        best_kept=best.metric if best else None,
        best_measured=b.metric if (b := _best(measured, sign)) else None,
        claimed_gain=_gain(base, best, sign),
        rerun_gain=_rerun_gain(judged, base),
        best_line=best.row.line if best else None,
        parts=_parts(tries),
        noise=noise,
        noise_steps=_noise_steps(leading, noise.sd),
        chance_keeps=chance_keeps(ran),
        chance_gain=None if noise.sd is None else chance_gain(ran, noise.sd),
        categories=_categories(tries),
        contradictions=dict(sorted(Counter(item.contradiction for item in rows if item.contradiction).items())),
        reruns=len(judged.again),
    )


def _was_run(item: Judged) -> bool:
    """False for a row without an experiment: skipped, pending, a note."""
    return item.metric is not None or item.row.status is not None or item.decision is not None


def _best(items: Sequence[Judged], sign: float) -> Judged | None:
    return min(items, key=lambda item: sign * (item.metric or 0.0), default=None)


def _gain(base: float | None, best: Judged | None, sign: float) -> float | None:
    return None if base is None or best is None or best.metric is None else sign * (base - best.metric)


def _groups(judged: Judgement) -> dict[int, list[float]]:
    """index of a row that was measured again → metrics of its re-runs."""
    groups: dict[int, list[float]] = defaultdict(list)
    for index, first in judged.again.items():
        metric = judged.rows[index].metric
        if metric is not None:
            groups[first].append(metric)
    return groups


def _noise(judged: Judgement) -> MeasurementNoise:
    values = []
    for first, later in _groups(judged).items():
        own = judged.rows[first].metric
        # a step that was selected for its luck biases the spread; use only its re-runs
        picked = (judged.rows[first].step or 0.0) > 0.0 and len(later) > 1
        values.append(later if picked or own is None else [own, *later])
    return spread(values)


def _rerun_gain(judged: Judgement, base: float | None) -> float | None:
    """The best kept gain, with the mean of the re-runs for rows that were measured again."""
    groups = _groups(judged)
    if base is None or not set(groups) - {judged.baseline}:
        return None
    values = []
    for index, item in enumerate(judged.rows):
        if item.metric is not None and index not in judged.again and item.leads:
            later = groups.get(index)
            values.append(judged.sign * (base - (sum(later) / len(later) if later else item.metric)))
    return max(values, default=None)


def _parts(tries: Sequence[Judged]) -> tuple[QuarterFigures, ...]:
    out = []
    for k in range(PARTS):
        some = tries[k * len(tries) // PARTS : (k + 1) * len(tries) // PARTS]
        gain = sum(max(item.step or 0.0, 0.0) for item in some if item.leads)
        out.append(QuarterFigures(len(some), sum(item.kept for item in some), gain))
    return tuple(out)


def _noise_steps(kept: Sequence[Judged], sd: float | None) -> int | None:
    if sd is None:
        return None
    return sum(item.step is not None and is_explained(item.step, item.tries, sd) for item in kept)


def _categories(tries: Sequence[Judged]) -> tuple[CategoryFigures, ...]:
    """Every tried category, the one with the largest gain first."""
    by_category: dict[str, list[Judged]] = defaultdict(list)
    for item in tries:
        by_category[item.category].append(item)
    table = []
    for name, items in by_category.items():
        kept = sum(item.kept for item in items)
        failed = sum(item.row.status not in ("ok", None) for item in items)
        gain = sum(max(item.step or 0.0, 0.0) for item in items if item.leads)
        table.append(CategoryFigures(name, len(items), kept, failed, gain))
    return tuple(sorted(table, key=lambda c: (-c.gain, -c.kept, -c.tried, c.category)))
