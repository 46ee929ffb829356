"""Average gains of arms, their intervals and the tests between them: Welch's, with Satterthwaite's degrees of freedom.

All of it is conditional on the measured mean of the untouched script, as is the board.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from analysis.statistics import Estimate, mean_interval, satterthwaite
from analysis.verdict.standings import ALPHA

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, np.dtype[Any]]

Key = TypeVar("Key", bound=Hashable)


class Scores(Generic[Key]):
    """Average gains of arms, and the tests between them. ``cells``: arm → mean gain; se None: one run."""

    def __init__(self, cells: Mapping[Key, Estimate]) -> None:
        import numpy as np

        measured = {key: cell for key, cell in cells.items() if cell.value is not None}
        self.keys = list(measured)
        # the last arm is an extra one that gains exactly 0
        self._mean = np.array([*(cell.value for cell in measured.values()), 0.0])
        errors = [math.nan if cell.se is None else cell.se**2 for cell in measured.values()]
        self._error = np.array([*errors, 0.0])
        self._n = np.array([*(float(cell.n) for cell in measured.values()), math.inf])

    @cached_property
    def values(self) -> dict[Key, float]:
        return dict(zip(self.keys, self._mean[:-1].tolist(), strict=True))

    def runs(self, key: Key) -> int:
        return int(self._n[self.keys.index(key)])

    def interval(self, key: Key, level: float = ALPHA / 2) -> tuple[float | None, float | None, float | None]:
        """(se, low, high) of the average gain; None with one run."""
        return self._compared(self.keys.index(key), -1, level)[1:]

    def over(self, key: Key, other: Key, level: float = ALPHA / 2) -> tuple[float, float | None, float | None]:
        """(difference of the averages, low, high); ``level``: the chance to miss on each side."""
        difference, _, low, high = self._compared(self.keys.index(key), self.keys.index(other), level)
        return difference, low, high

    def error(self, key: Key, other: Key) -> float | None:
        """Standard error of the difference of two averages."""
        return self._compared(self.keys.index(key), self.keys.index(other))[1]

    def below(self, key: Key, level: float) -> set[Key]:
        """The arms whose gain is below that of ``key`` by a one-sided test at ``level``, for each by itself."""
        import numpy as np
        from scipy.special import stdtr

        difference, variance, df = (each[:-1] for each in self._against(self.keys.index(key)))
        with np.errstate(all="ignore"):
            p = np.where(variance > 0.0, stdtr(df, -difference / np.sqrt(variance)), difference <= 0.0)
        return {self.keys[int(i)] for i in np.flatnonzero((p < level) & ~np.isnan(variance))}

    def _compared(
        self, a: int, b: int, level: float = ALPHA / 2
    ) -> tuple[float, float | None, float | None, float | None]:
        difference, variance, df = (float(each[b]) for each in self._against(a))
        if math.isnan(variance):
            return difference, None, None, None
        se = math.sqrt(variance)
        return difference, se, *Estimate(difference, se, df).interval(level)

    def _against(self, a: int) -> tuple[Array, Array, Array]:
        """(difference of the averages of arm ``a`` and each arm, its variance, df); the last arm gains 0."""
        import numpy as np

        theirs = self._error
        mine = np.full_like(theirs, theirs[a])
        variance = mine + theirs
        with np.errstate(all="ignore"):
            df = satterthwaite([(mine, self._n[a] - 1), (theirs, self._n - 1)])
            df = np.where(variance > 0, df, self._n[a] + self._n - 2)
        return self._mean[a] - self._mean, variance, df


def plain(gains: Mapping[Key, Sequence[float]]) -> Scores[Key]:
    """The same from the gains of each arm's runs."""
    return Scores({key: mean_interval(values) for key, values in gains.items()})
