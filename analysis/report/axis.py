"""An axis of a picture that is drawn without a script."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from analysis.wording import decimals, number, tick_step


@dataclass(frozen=True)
class Axis:
    """Maps ``low`` to ``start`` and ``high`` to ``end``; values beyond them are drawn at the edge."""

    low: float
    high: float
    start: float
    end: float

    @classmethod
    def over(cls, values: Iterable[float | None], start: float, end: float) -> Axis:
        """From the least of the values, and 0, to the largest."""
        known = [0.0, *(value for value in values if value is not None)]
        return cls(min(known), max(known), start, end)

    def __call__(self, value: float) -> float:
        inside = min(max(value, self.low), self.high)
        return round(self.start + (self.end - self.start) * (inside - self.low) / ((self.high - self.low) or 1.0), 1)

    def ticks(self, about: int) -> tuple[tuple[float, str], ...]:
        """Where round values lie, and these."""
        step = tick_step((self.high - self.low) or 1.0, about)
        values = [step * k for k in range(math.ceil(self.low / step), math.floor(self.high / step) + 1)]
        return tuple((self(value), number(value, decimals(step, 1)) if value else "0") for value in values)
