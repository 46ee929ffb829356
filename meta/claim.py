"""The claim of a study: one pre-declared one-sided test on a stream that nothing has touched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from analysis.statistics import Mean, Ratio, interval, mean_interval, ratio, shared_error, t_test, welch_difference

LEVEL = 0.025


@dataclass(frozen=True)
class Claim:
    """What the confirmation says. Gains in the task's unit, positive is better; two-sided 95% intervals.

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

    @property
    def holds(self) -> bool:
        return self.p < LEVEL


@dataclass(frozen=True)
class Elsewhere:
    """What a reserved task says. ``claim`` None: there the champion behaves like stock, and nothing was run."""

    task: str
    unit: str
    claim: Claim | None
    p_adjusted: float | None  # Holm over the reserved tasks; None where nothing was run
    holds: bool


@dataclass(frozen=True)
class Against:
    """What gains were measured against: the baseline's metrics over the shared seeds of the stream, and for each role
    the share of its verifications that were held against them (at the baseline's source, or failed, a run gains
    exactly 0 there)."""

    baseline: tuple[float, ...]
    touched: Mapping[str, float]


def claim(gains: Mapping[str, Sequence[float]], measured: Against | None = None) -> Claim:
    """The one test. Without ``measured`` the baseline is taken as known, not as a mean over a few seeds."""
    best, stock, bare = gains["champion"], gains["control"], gains.get("without-ideas")
    touched = measured.touched if measured else {}
    baseline = measured.baseline if measured else ()
    ours, stocks, bares = (touched.get(role, 0.0) for role in ("champion", "control", "without-ideas"))
    error = shared_error(baseline, ours, stocks)
    difference, se, df = welch_difference(best, stock, error)
    low, high = interval(difference or 0.0, se, df)
    p = one_sided(difference or 0.0, t_test(difference or 0.0, se, df))
    return Claim(
        champion=mean_interval(best), stock=mean_interval(stock), without_ideas=mean_interval(bare) if bare else None,
        difference=difference or 0.0, low=low, high=high, p=p,
        ratio=ratio(best, stock, baseline=baseline, touched=(ours, stocks)),
        ratio_without_ideas=ratio(bare, stock, baseline=baseline, touched=(bares, stocks)) if bare else None,
    )  # fmt: skip


def one_sided(difference: float, two_sided: float | None) -> float:
    """p of "no better"; 1 where there is no test, which a side with fewer than two runs does not allow."""
    if two_sided is None:
        return 1.0
    return two_sided / 2 if difference > 0 else 1.0 - two_sided / 2


def recorded(event: Mapping[str, Any]) -> Claim:
    """A claim from the figures of its record."""
    means = {k: Mean(**event[k]) if event[k] else None for k in ("champion", "stock", "without_ideas")}
    ratios = {k: Ratio(**event[k]) if event[k] else None for k in ("ratio", "ratio_without_ideas")}
    return Claim(**means, **ratios, **{k: event[k] for k in ("difference", "low", "high", "p")})  # type: ignore[arg-type]
