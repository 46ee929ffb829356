"""How early a program gets somewhere: the share of a run's budget that is spent until its kept script reaches a target.

Targets on a task are multiples of stock's mean gain there, by the scores that the researchers saw, because only those
exist in the middle of a run. The share of (run, target) pairs that are reached by a share of the budget is an empirical
distribution function over runs, targets and tasks, as the COCO platform draws it for optimisers (Hansen and others,
2021, https://doi.org/10.1080/10556788.2020.1808977): unlike a ratio of gains it stays meaningful where stock gains
little.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

from analysis.statistics import Mean, mean_interval
from analysis.tables import statement, typed_rows
from analysis.transfer import BOTH, stock_of

if TYPE_CHECKING:
    import duckdb

TARGETS = (0.5, 1.0, 1.5, 2.0)  # multiples of stock's mean gain
GRID = (0.1, 0.25, 0.5, 1.0)  # shares of the budget at which tables show the distribution
FACTORS = (1.0, 2.0, 4.0)  # of the fastest program's time, at which tables show the performance profile
MOMENTS = ("first", "half", "end")  # after the first experiment, at half of the budget, at its end


@dataclass(frozen=True)
class GainCurve:
    """A run: after the first two experiments, and each that raised ``best``, the best gain of a kept script so far;
    ``spent``: as a share of the run's budget."""

    run_id: str
    task: str
    program_id: str
    name: str
    role: str
    spent: Sequence[float]
    best: Sequence[float]


@dataclass(frozen=True)
class Anytime:
    """One program on one task, or on all: ``shares`` holds, by target, the share of the budget at which each run
    reached it, infinite where it did not; ``gains``, by moment, each run's gain so far over stock's mean gain at the
    end."""

    program_id: str
    name: str
    role: str
    tasks: tuple[str, ...]
    runs: int
    is_stock: bool
    shares: Mapping[float, tuple[float, ...]]
    gains: Mapping[str, tuple[float, ...]]

    def reached(self, spent: float) -> float:
        """Share of the pairs of run and target that are reached once ``spent`` of the budget is."""
        every = [share for shares in self.shares.values() for share in shares]
        return sum(share <= spent for share in every) / len(every)

    def gain(self, moment: str) -> Mean:
        """Mean gain at a moment with its interval over runs, in units of stock's mean gain at the end."""
        return mean_interval(self.gains[moment])

    def median(self, target: float = 1.0) -> tuple[float, float, float]:
        """(median, low, high) of the share until ``target``; 95% by order statistics, infinite where it is open."""
        return median_interval(self.shares[target])


ScaledRun = tuple[GainCurve, float]  # with stock's mean gain on its task


def median_interval(values: Sequence[float]) -> tuple[float, float, float]:
    """(median, low, high) at 95%, free of a distribution. Fewer than six values leave the interval open."""
    from scipy.special import bdtr

    ordered, n = sorted(values), len(values)
    middle = ordered[n // 2] if n % 2 else (ordered[n // 2 - 1] + ordered[n // 2]) / 2
    below = next(k for k in range(n + 1) if bdtr(k, n, 0.5) >= 0.025)
    if below < 1:
        return middle, 0.0, math.inf
    return middle, ordered[below - 1], ordered[n - below]


def anytime(con: duckdb.DuckDBPyConnection) -> list[Anytime]:
    """The programs of an open study; it reads no computed views."""
    return programs_of(typed_rows(con.execute(statement("anytime")), GainCurve))


def programs_of(courses: Sequence[GainCurve]) -> list[Anytime]:
    """Every program on every task, and over all its tasks where there are several; stock included.

    A task on which stock gained nothing is left out: it gives no targets.
    """
    by_task: dict[str, list[GainCurve]] = defaultdict(list)
    for run in courses:
        by_task[run.task].append(run)
    programs: dict[tuple[str, bool], list[list[ScaledRun]]] = defaultdict(list)
    for runs in by_task.values():
        stock = stock_of(runs)
        last = [run.best[-1] for run in runs if run.program_id == stock]
        unit = math.fsum(last) / len(last) if last else 0.0
        on_task: dict[str, list[ScaledRun]] = defaultdict(list)
        for run in runs if unit > 0 else ():
            on_task[run.program_id].append((run, unit))
        for program_id, own in on_task.items():
            programs[program_id, program_id == stock].append(own)
    return [
        _program(own, is_stock)
        for (_, is_stock), tasks in programs.items()
        for own in ([*tasks, list(chain(*tasks))] if len(tasks) > 1 else tasks)
    ]


def within(programs: Sequence[Anytime], factor: float, target: float = 1.0) -> dict[tuple[str, bool], Mean]:
    """Performance profile at one factor, by (program id, whether it is stock): the share of its tasks on which a
    program's median time to the target is at most ``factor`` times that of the fastest program there. Tasks on which
    no median run reaches it do not count (Dolan and Moré, 2002, https://doi.org/10.1007/s101070100263)."""
    single = [one for one in programs if len(one.tasks) == 1 and target in one.shares]
    until = {(one.program_id, one.is_stock, one.tasks[0]): one.median(target)[0] for one in single}
    fastest: dict[str, float] = {}
    for (_, _, task), share in until.items():
        fastest[task] = min(share, fastest.get(task, math.inf))
    near: dict[tuple[str, bool], list[float]] = defaultdict(list)
    for (name, stock, task), share in until.items():
        if fastest[task] < math.inf:
            near[name, stock].append(float(share <= factor * fastest[task]))
    return {key: mean_interval(shares) for key, shares in near.items()}


def _program(measured: Sequence[ScaledRun], is_stock: bool) -> Anytime:
    first = measured[0][0]
    roles = {run.role for run, _ in measured}
    return Anytime(
        first.program_id,
        first.name,
        BOTH if is_stock and len(roles) > 1 else first.role,
        tuple(dict.fromkeys(run.task for run, _ in measured)),
        len(measured),
        is_stock,
        {target: tuple(share_until(run, target * unit) for run, unit in measured) for target in TARGETS},
        {moment: tuple(gain_at(run, moment) / unit for run, unit in measured) for moment in MOMENTS},
    )


def gain_at(run: GainCurve, moment: str) -> float:
    """The gain of the kept script at a moment; 0 before the baseline was scored."""
    if moment == "first":  # the baseline's experiment comes before it
        return run.best[:2][-1]
    if moment == "half":
        return next((best for spent, best in zip(run.spent[::-1], run.best[::-1], strict=True) if spent <= 0.5), 0.0)
    return run.best[-1]


def share_until(run: GainCurve, gain: float) -> float:
    """The share of the budget that is spent when the kept script first gains as much; infinite if it never does."""
    return next((min(spent, 1.0) for spent, best in zip(run.spent, run.best, strict=True) if best >= gain), math.inf)
