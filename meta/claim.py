"""The claim of a study: one pre-declared one-sided test on a stream that nothing has touched.

On several tasks it is one test still, of the mean over tasks of champion minus stock, each divided by the task's scale:
stock's mean gain in the search (`analysis.scales`). The scales are known before the first run of the confirmation, from
other runs, so the test is of a linear form and holds its level however little stock gains anywhere.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from analysis.ratios import Sides, mean_of_ratios
from analysis.scales import Scale
from analysis.statistics import Mean, Ratio, interval, mean_interval, ratio, shared_error, t_test, welch_difference

LEVEL = 0.025

Gains = Mapping[str, Sequence[float]]  # role → gains of its runs
Estimate = tuple[float, float | None, float]  # a figure, its se, degrees of freedom


@dataclass(frozen=True)
class Claim:
    """What the confirmation says. Gains in the task's unit, positive is better; two-sided 95% intervals. Over several
    tasks the means are those over the tasks, each in its scale, and ``tasks`` says what each of them told.

    ``difference`` is champion minus stock; ``p`` its one-sided Welch test, the one test that the study announces,
    held against LEVEL. The ratios to stock's mean gain carry one-sided 95% lower bounds (Fieller).
    """

    champion: Mean
    stock: Mean
    without_ideas: Mean | None
    difference: float
    low: float | None
    high: float | None
    p: float
    ratio: Ratio
    ratio_without_ideas: Ratio | None
    tasks: tuple[OnTask, ...] = ()

    @property
    def holds(self) -> bool:
        return self.p < LEVEL


@dataclass(frozen=True)
class OnTask:
    """One of several home tasks. ``scale``: what its gains are divided by, in its unit; ``of_stock``: that is stock's
    mean gain in the search, else a standard deviation between runs."""

    task: str
    unit: str
    scale: float
    of_stock: bool
    claim: Claim


@dataclass(frozen=True)
class Elsewhere:
    """What a reserved task says. ``claim`` None: there the champion behaves like stock, and nothing was run."""

    task: str
    unit: str
    claim: Claim | None
    p_adjusted: float | None  # Holm over the reserved tasks; None where nothing was run
    holds: bool

    def record(self) -> dict[str, Any]:
        return vars(self) | {"claim": record(self.claim) if self.claim else None}


@dataclass(frozen=True)
class Against:
    """What gains were measured against: the baseline's metrics over the shared seeds of the stream, and for each role
    the share of its verifications that were held against them (at the baseline's source, or failed, a run gains
    exactly 0 there)."""

    baseline: tuple[float, ...]
    touched: Mapping[str, float]


def claim(gains: Gains, measured: Against | None = None) -> Claim:
    """The one test. Without ``measured`` the baseline is taken as known, not as a mean over a few seeds."""
    best, stock, bare = gains["champion"], gains["control"], gains.get("without-ideas")
    difference, se, df = _difference(gains, measured)
    low, high = interval(difference, se, df)
    return Claim(
        champion=mean_interval(best), stock=mean_interval(stock), without_ideas=mean_interval(bare) if bare else None,
        difference=difference, low=low, high=high, p=one_sided(difference, t_test(difference, se, df)),
        ratio=_ratio(_sides(gains, measured, "champion")),
        ratio_without_ideas=_ratio(_sides(gains, measured, "without-ideas")) if bare else None,
    )  # fmt: skip


def claim_over(found: Sequence[tuple[Scale, Gains, Against]]) -> Claim:
    """The one test over several tasks. Degrees of freedom by Satterthwaite over the tasks, which are independent."""
    tasks = [OnTask(s.task, s.unit, s.size, s.of_stock, claim(gains, measured)) for s, gains, measured in found]
    apart = [(_difference(gains, measured), scale.size) for scale, gains, measured in found]
    difference, se, df = _over([(d / size, se and se / size, df) for (d, se, df), size in apart])
    low, high = interval(difference, se, df)
    bare = all(gains.get("without-ideas") for _, gains, _ in found)

    def ratios(role: str) -> Ratio:
        return mean_of_ratios([_sides(gains, measured, role) for _, gains, measured in found])

    return Claim(
        champion=_mean_over(tasks, lambda c: c.champion), stock=_mean_over(tasks, lambda c: c.stock),
        without_ideas=_mean_over(tasks, lambda c: c.without_ideas) if bare else None,
        difference=difference, low=low, high=high, p=one_sided(difference, t_test(difference, se, df)),
        ratio=ratios("champion"), ratio_without_ideas=ratios("without-ideas") if bare else None, tasks=tuple(tasks),
    )  # fmt: skip


def _difference(gains: Gains, measured: Against | None) -> Estimate:
    """Champion minus stock, its se, and degrees of freedom."""
    touched = measured.touched if measured else {}
    baseline = measured.baseline if measured else ()
    error = shared_error(baseline, touched.get("champion", 0.0), touched.get("control", 0.0))
    difference, se, df = welch_difference(gains["champion"], gains["control"], error)
    return difference or 0.0, se, df


def _sides(gains: Gains, measured: Against | None, role: str) -> Sides:
    touched = measured.touched if measured else {}
    shares = touched.get(role, 0.0), touched.get("control", 0.0)
    return Sides(gains[role], gains["control"], measured.baseline if measured else (), shares)


def _ratio(sides: Sides) -> Ratio:
    return ratio(sides.top, sides.bottom, baseline=sides.baseline, touched=sides.touched)


def _mean_over(tasks: Sequence[OnTask], of: Callable[[Claim], Mean | None]) -> Mean:
    means = [(mean, on.scale) for on in tasks if (mean := of(on.claim)) is not None and mean.mean is not None]
    if len(means) < len(tasks):
        return Mean(None, None, 0, None, None)
    told = [((mean.mean or 0.0) / size, mean.se and mean.se / size, mean.n - 1.0) for mean, size in means]
    middle, se, df = _over(told)
    return Mean(middle, se, min(mean.n for mean, _ in means), *interval(middle, se, df))


def _over(tasks: Sequence[Estimate]) -> Estimate:
    """Mean of independent estimates, its se (None where one has none), and Satterthwaite's degrees of freedom."""
    mean, count = math.fsum(estimate for estimate, _, _ in tasks) / len(tasks), len(tasks)
    parts = [(se**2, df) for _, se, df in tasks if se is not None]
    if len(parts) < count:
        return mean, None, 0.0
    total, spread = math.fsum(v for v, _ in parts), math.fsum(v**2 / df for v, df in parts)
    return mean, math.sqrt(total) / count, total**2 / spread if spread else math.fsum(df for _, df in parts)


def one_sided(difference: float, two_sided: float | None) -> float:
    """p of "no better"; 1 where there is no test, which a side with fewer than two runs does not allow."""
    if two_sided is None:
        return 1.0
    return two_sided / 2 if difference > 0 else 1.0 - two_sided / 2


def record(told: Claim) -> dict[str, Any]:
    """The claim's figures as they are written down; of one task nothing is said of tasks."""
    figures = asdict(told)
    del figures["tasks"]
    return figures | ({"tasks": [vars(on) | {"claim": record(on.claim)} for on in told.tasks]} if told.tasks else {})


def recorded(event: Mapping[str, Any]) -> Claim:
    """A claim from the figures of its record."""
    means = {k: Mean(**event[k]) if event[k] else None for k in ("champion", "stock", "without_ideas")}
    ratios = {k: Ratio(**event[k]) if event[k] else None for k in ("ratio", "ratio_without_ideas")}
    tasks = tuple(OnTask(**{**on, "claim": recorded(on["claim"])}) for on in event.get("tasks", ()))
    figures = {k: event[k] for k in ("difference", "low", "high", "p")}
    return Claim(**means, **ratios, **figures, tasks=tasks)  # type: ignore[arg-type]
