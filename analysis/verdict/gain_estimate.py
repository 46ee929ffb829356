"""The mean gain of one source over the untouched one, with what its interval contains."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from analysis.statistics import Estimate, error_of, welch_difference
from trainer.rows import DRAWN, EXACT, ROWS, SEEDS

if TYPE_CHECKING:
    from trainer.rows import Rows


@dataclass(frozen=True)
class GainEstimate(Estimate):
    """A mean gain in the task's unit, positive is better, from ``n`` values.

    ``noise``: what the interval contains, words of `trainer.rows`. Without any, or where the metric is exact, there is
    no interval, and ``se`` is None. ``luck``: how much lower the interval reaches, because the source is the best of
    many on the same rows. ``start``, ``end``: mean metrics of the untouched source and of this one in the same
    measurement. ``held_rows``: number of held-back rows that it is on.
    """

    noise: str = ""
    luck: float = 0.0
    start: float | None = None
    end: float | None = None
    held_rows: int | None = None

    @property
    def gain(self) -> float:
        return self.or_zero

    def interval(self, miss: float = 0.025) -> tuple[float | None, float | None]:
        low, high = super().interval(miss)
        return None if low is None else low - self.luck, high

    @property
    def without_interval(self) -> GainEstimate:
        """The same of which nothing is known but its value."""
        return replace(self, se=None, df=0.0, noise="")


def gain_over_seeds(
    gains: Sequence[float], untouched: Sequence[float], data_noise: str, ignores_seed: bool = False
) -> GainEstimate:
    """The estimate from the spread of the gains of one source, and of the ``untouched`` metrics whose mean they share;
    without those, each gain is over an untouched training of its own.

    Where each training draws rows of its own (DRAWN) the spread contains their noise. A source that ``ignores_seed``,
    or whose gains are equal, is one draw, as uncertain as a seed of the untouched source: that a script ignores its
    seed does not mean that it has no luck. Where nothing varies, nothing is known. ``gains`` is not empty.
    """
    n = len(gains)
    mean = math.fsum(gains) / n
    if data_noise == EXACT:
        return GainEstimate(mean, n=n, noise=EXACT)
    if ignores_seed or (n > 1 and len(set(gains)) == 1 and len(set(untouched)) > 1):
        spread = untouched or gains
        se, df, n = math.sqrt(error_of(spread) * (len(spread) + 1)), len(spread) - 1.0, 1
    elif untouched:
        difference = welch_difference(gains, untouched)
        se, df = difference.se or 0.0, difference.df
    else:
        se, df = math.sqrt(error_of(gains)), n - 1.0
    if not se:
        return GainEstimate(mean, n=n)
    return GainEstimate(mean, se, df, n=n, noise=f"{SEEDS} {ROWS}" if data_noise == DRAWN else SEEDS)


def gain_over_rows(gains: Rows) -> GainEstimate:
    """The estimate from the gain in each row, [rows], of one source over another one on the same rows, which chose
    neither. Without a row that differs there is no interval.

    Degrees of freedom: one less than the effective number of rows that differ, (Σd²)² / Σd⁴. With that of all rows,
    four rows that differ and all improve would be significant, which happens by chance in one case of 16.
    """
    gain, squares = float(gains.mean()), float((gains**2).sum())
    if not squares or len(gains) < 2:
        return GainEstimate(gain, n=len(gains))
    se = math.sqrt(float(gains.var(ddof=1)) / len(gains))
    df = max(squares**2 / float((gains**4).sum()) - 1.0, 1e-9)
    return GainEstimate(gain, se or None, df, n=len(gains), noise=ROWS)
