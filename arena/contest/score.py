"""The score of an entry in a contest on several tasks: gain divided by stock's gain, averaged over the tasks.

Pure functions from rows of the view `standings`, or from gains, to scores. With m_t the entry's mean gain on task t and
S_t that of stock (over the runs of both its arms), the score is (1/T) sum m_t / S_t. Its variance, and that of the
difference of two entries, is that of the linear approximation in all means involved, S_t included (the delta method:
Casella and Berger, Statistical Inference, 2nd ed., 5.5.4), with degrees of freedom by Satterthwaite (1946) over the
same parts. Both entries are divided by the same S_t, so in a difference its error multiplies only (m_a - m_b).
`bench.tasks` checks the coverage. All of it is conditional on the measured mean of the untouched script, as is the
board.

A ratio whose denominator may be 0 has no interval: a task counts once the lower end of stock's 95% interval on it is
above 0. If no task counts, the score is the gain on the first task, in its unit, and the test is Welch's.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from pydantic import JsonValue

from analysis.standings import ALPHA
from analysis.statistics import Mean, interval, mean_interval
from analysis.trust import weakest
from arena.contest.stored import ArmColumns

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, np.dtype[Any]]

UNIT = "x stock"

Key = TypeVar("Key", bound=Hashable)


class ArmRow(ArmColumns):
    """An arm of a match, also without a measured run; its state is that of its entry."""

    gain: float | None
    rank_low: int | None
    rank_high: int | None
    state: str


@dataclass(frozen=True)
class Scale:
    """The divisor of gains on a task: stock's mean gain there, its 95% interval, runs, and whether the task counts."""

    task: str
    gain: float | None
    low: float | None
    high: float | None
    n: int
    counts: bool
    variance: float = 0.0  # of one run


class Scores(Generic[Key]):
    """Scores of arms, and the tests between them. ``cells``: arm → task → mean gain; se None: one run.

    ``stock``: the arms of stock. None: the gains on one task are compared unscaled.
    """

    def __init__(self, cells: Mapping[Key, Mapping[str, Mean]], tasks: Sequence[str], stock: Sequence[Key] | None):
        import numpy as np

        scales = [scale(task, [cells[s][task] for s in stock or () if task in cells[s]]) for task in tasks]
        self.scales = scales if stock is not None else []
        counting = [each for each in self.scales if each.counts]
        self.scaled = bool(counting)
        self.tasks = [each.task for each in counting] or list(tasks[:1])
        self.keys = [key for key, by_task in cells.items() if all(_has(by_task, task) for task in self.tasks)]
        at = [[cells[key][task] for task in self.tasks] for key in self.keys]
        nothing = [0.0] * len(self.tasks)  # an extra arm that gains exactly 0
        self._mean = np.array([[cell.mean or 0.0 for cell in row] for row in at] + [nothing])
        self._error = np.array([[math.nan if c.se is None else c.se**2 for c in row] for row in at] + [nothing])
        self._n = np.array([[float(cell.n) for cell in row] for row in at] + [[math.inf] * len(self.tasks)])
        self._by = np.array([1.0 / len(self.tasks) / (each.gain or 1.0) for each in counting] or [1.0])
        self._stock = [self.keys.index(key) for key in (stock or ()) if self.scaled and key in self.keys]
        self._variance = np.array([each.variance for each in counting] or [0.0])
        self._of = np.array([float(each.n) for each in counting] or [math.inf])

    @cached_property
    def values(self) -> dict[Key, float]:
        return dict(zip(self.keys, (self._mean[:-1] @ self._by).tolist(), strict=True))

    def runs(self, key: Key) -> int:
        """The smallest number of runs on a task."""
        return int(self._n[self.keys.index(key)].min())

    def interval(self, key: Key, level: float = ALPHA / 2) -> tuple[float | None, float | None, float | None]:
        """(se, low, high) of the score, including stock's uncertainty; None with one run."""
        return self._told(self.keys.index(key), -1, level)[1:]

    def over(self, key: Key, other: Key, level: float = ALPHA / 2) -> tuple[float, float | None, float | None]:
        """(difference of the scores, low, high); ``level``: the chance to miss on each side."""
        difference, _, low, high = self._told(self.keys.index(key), self.keys.index(other), level)
        return difference, low, high

    def error(self, key: Key, other: Key) -> float | None:
        """Standard error of the difference of two scores."""
        return self._told(self.keys.index(key), self.keys.index(other))[1]

    def below(self, key: Key, level: float) -> set[Key]:
        """The arms whose score is below that of ``key`` by a one-sided test at ``level``, for each by itself."""
        import numpy as np
        from scipy.special import stdtr

        difference, variance, df = (each[:-1] for each in self._against(self.keys.index(key)))
        with np.errstate(all="ignore"):
            p = np.where(variance > 0.0, stdtr(df, -difference / np.sqrt(variance)), difference <= 0.0)
        return {self.keys[int(i)] for i in np.flatnonzero((p < level) & ~np.isnan(variance))}

    def _told(self, a: int, b: int, level: float = ALPHA / 2) -> tuple[float, float | None, float | None, float | None]:
        difference, variance, df = (float(each[b]) for each in self._against(a))
        if math.isnan(variance):
            return difference, None, None, None
        se = math.sqrt(variance)
        return difference, se, *interval(difference, se, df, level)

    def _against(self, a: int) -> tuple[Array, Array, Array]:
        """(difference of the scores of arm ``a`` and each arm, its variance, df); the last arm gains 0."""
        import numpy as np

        by, apart = self._by, self._mean[a] - self._mean
        mine = np.broadcast_to(by**2 * self._error[a], apart.shape).copy()
        theirs = by**2 * self._error
        shared = np.zeros_like(apart)
        for k in self._stock:  # the mean of this stock arm changes the scale and the arm itself
            moves = -(self._n[k] / self._of) * apart * by / self._scale
            moves += by * (k == a)
            moves[k] -= by
            shared += self._variance * moves**2 / self._n[k]
            theirs[k] = 0.0
            mine *= k != a
        parts = ((mine, self._n[a] - 1), (theirs, self._n - 1), (shared, self._of - 1))
        variance = sum(part.sum(axis=1) for part, _ in parts)
        with np.errstate(all="ignore"):
            spread = sum((part**2 / df).sum(axis=1) for part, df in parts)
            df = np.where(variance > 0, variance**2 / spread, (self._n[a] + self._n - 2).min(axis=1))
        return apart @ by, variance, df

    @property
    def _scale(self) -> Array:
        return 1.0 / (self._by * len(self.tasks))

    @cached_property
    def _shown(self) -> tuple[Array, Array]:
        """(better, worse): the pairs that differ significantly at 5%, corrected by Holm (1979) over all pairs."""
        import numpy as np
        from scipy.special import stdtr

        count = len(self.keys)
        small, left, right = [np.zeros(0)], [np.zeros(0, int)], [np.zeros(0, int)]
        for a in range(count - 1):
            difference, variance, df = (each[a + 1 : count] for each in self._against(a))
            with np.errstate(all="ignore"):
                p = 2.0 * stdtr(df, -np.abs(difference) / np.sqrt(variance))
            p = np.where(variance == 0.0, difference == 0.0, p)
            there = np.flatnonzero(p < ALPHA)
            small.append(p[there])
            up = difference[there] > 0
            left.append(np.where(up, a, there + a + 1))
            right.append(np.where(up, there + a + 1, a))
        ps = np.concatenate(small)
        order = np.argsort(ps, kind="stable")
        missed = (count * (count - 1) // 2 - np.arange(len(ps))) * ps[order] >= ALPHA
        kept = order[: int(np.argmax(missed))] if missed.any() else order
        return np.concatenate(left)[kept], np.concatenate(right)[kept]

    def ranks(self) -> dict[Key, tuple[int, int]]:
        """arm → rank range: 1 + arms significantly better, to number of arms − arms significantly worse."""
        import numpy as np

        better, worse = self._shown
        count = len(self.keys)
        above, below = np.bincount(worse, minlength=count), np.bincount(better, minlength=count)
        return {key: (1 + int(above[i]), count - int(below[i])) for i, key in enumerate(self.keys)}

    def told_from(self, key: Key) -> set[Key]:
        """The arms that are significantly worse than ``key``."""
        better, worse = self._shown
        return {self.keys[int(j)] for j in worse[better == self.keys.index(key)]}


def plain(gains: Mapping[Key, Sequence[float]]) -> Scores[Key]:
    """Scores of one task: unscaled gains, Welch's test."""
    return Scores({key: {"": mean_interval(values)} for key, values in gains.items()}, [""], None)


def scale(task: str, arms: Sequence[Mean]) -> Scale:
    """Stock's mean gain on a task over the runs of all its arms, as one sample."""
    arms = [arm for arm in arms if arm.mean is not None]
    n = sum(arm.n for arm in arms)
    if n == 0:
        return Scale(task, None, None, None, 0, counts=False)
    mean = math.fsum(arm.n * (arm.mean or 0.0) for arm in arms) / n
    if n == 1:
        return Scale(task, mean, None, None, 1, counts=False)
    squares = math.fsum(
        (arm.n - 1) * arm.n * (arm.se or 0.0) ** 2 + arm.n * ((arm.mean or 0.0) - mean) ** 2 for arm in arms
    )
    variance = squares / (n - 1)
    low, high = interval(mean, math.sqrt(variance / n), n - 1)
    return Scale(task, mean, low, high, n, counts=low is not None and low > 0.0, variance=variance)


def overall(
    by_task: Mapping[str, Sequence[ArmRow]], units: Mapping[str, str]
) -> tuple[list[ArmRow], list[dict[str, JsonValue]], str]:
    """(one row per entry, best first, with ``tasks``; the scale of each task; the unit of the gains).

    ``by_task``: the rows of each task's match, the first task first, each with `entry_id` and `role`. The rows of a
    single task are returned unchanged.
    """
    tasks = list(by_task)
    if len(tasks) == 1:
        return list(by_task[tasks[0]]), [], units[tasks[0]]
    entries: dict[str, dict[str, ArmRow]] = {}
    for task, rows in by_task.items():
        for row in rows:
            entries.setdefault(row["entry_id"], {})[task] = row
    cells = {
        entry: {task: Mean(row["gain"], row["se"], row["n"], None, None) for task, row in there.items()}
        for entry, there in entries.items()
    }
    stock = [entry for entry, there in entries.items() if next(iter(there.values()))["role"] != "program"]
    scores = Scores(cells, tasks, stock)
    ranks = scores.ranks()
    whole = [_merged(there, scores, entry, ranks, units) for entry, there in entries.items()]
    whole.sort(key=lambda row: (row["gain"] is None, -(row["gain"] or 0.0), row["number"]))
    scale_rows = [asdict(each) | {"unit": units[each.task]} for each in scores.scales]
    return whole, scale_rows, UNIT if scores.scaled else units[tasks[0]]


def _merged(
    there: Mapping[str, ArmRow],
    scores: Scores[str],
    entry: str,
    ranks: Mapping[str, tuple[int, int]],
    units: Mapping[str, str],
) -> ArmRow:
    """One entry's row over all tasks."""
    rows = list(there.values())
    known = entry in ranks
    se, low, high = scores.interval(entry) if known else (None, None, None)
    best, worst = ranks.get(entry, (None, None))
    claims = [there[task]["claimed"] if task in there else None for task in scores.tasks]
    weighed = ((claim or 0.0) * by for claim, by in zip(claims, scores._by.tolist(), strict=True))
    return {
        **rows[0],
        "n": min(there[task]["n"] if task in there else 0 for task in units),
        "gain": scores.values.get(entry),
        "se": se,
        "low": low,
        "high": high,
        "rank_low": best,
        "rank_high": worst,
        "claimed": None if None in claims else math.fsum(weighed),
        "trust": weakest(row["trust"] for row in rows if row["trust"]),
        "failed_seeds": _sum(row["failed_seeds"] for row in rows),
        "device_seconds_charged": _sum(row["device_seconds_charged"] for row in rows),
        "tokens": _sum(row["tokens"] for row in rows),
        "usd": _sum(row["usd"] for row in rows),
        "tasks": {
            task: {"gain": row["gain"], "low": row["low"], "high": row["high"], "n": row["n"], "unit": units[task]}
            for task, row in there.items()
        },
    }


def _sum(values: Iterable[float | None]) -> float | None:
    terms = list(values)
    return None if None in terms else sum(value or 0 for value in terms)


def _has(by_task: Mapping[str, Mean], task: str) -> bool:
    return task in by_task and by_task[task].mean is not None
