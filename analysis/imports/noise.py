"""The noise of the measurements in a log, and what it alone would give."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

from analysis.statistics import Estimate, satterthwaite
from trainer.rows import pooled_sd

KNOWN = 1e9  # degrees of freedom of an SD that is stated


@dataclass(frozen=True)
class MeasurementNoise:
    """``noise_sd``: SD of one measurement between those of one script, None if unknown; ``noise_df``: of that SD;
    ``noise_sources``: scripts that were measured twice. ``rows_sd``: SD of the mean over ``n_rows`` rows, as stated,
    which no re-run makes smaller. Two scripts are taken to fail on unrelated rows, so the noise is too large, if any.
    """

    noise_sd: float | None = None
    noise_df: int = 0
    noise_sources: int = 0
    n_rows: int | None = None
    rows_sd: float | None = None

    @property
    def is_known(self) -> bool:
        return self.noise_sd is not None or self.rows_sd is not None

    def difference(self, value: float, n: int = 1, n_before: int = 1) -> Estimate:
        """A difference between the means of ``n`` and ``n_before`` measurements; without an SE where the noise is
        unknown."""
        parts = []  # variance of the difference, degrees of freedom
        if self.noise_sd is not None:
            parts.append((self.noise_sd**2 * (1 / n + 1 / n_before), self.noise_df or KNOWN))
        if self.rows_sd is not None:
            parts.append((2 * self.rows_sd**2, KNOWN))
        if not parts:
            return Estimate(value)
        return Estimate(value, math.sqrt(sum(part for part, _ in parts)), satterthwaite(parts))

    def best_of(self, tries: int) -> float | None:
        """The expected gain of the best of so many equal tries: SD × expected maximum (Blom 1958)."""
        if not self.is_known or not tries:
            return None
        sd = math.hypot(self.noise_sd or 0.0, self.rows_sd or 0.0)
        return sd * NormalDist().inv_cdf((tries + 0.625) / (tries + 1.25))


def pooled(groups: Sequence[Sequence[float]]) -> MeasurementNoise:
    """From what was measured of several scripts, each a group; groups of one value say nothing."""
    sd, df = pooled_sd(groups) or (None, 0)
    return MeasurementNoise(sd or None, df, sum(len(values) > 1 for values in groups))
