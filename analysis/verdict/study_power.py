"""The view `power` (statistical power of each match), and the measured noise for planning further runs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from analysis.statistics import mean_together, ratio
from analysis.tables import statement, typed_rows
from analysis.verdict.power import LEVEL, POWER, RunSample, detectable

if TYPE_CHECKING:
    import duckdb

ALPHA = 0.05  # of the standings, over all pairs of a match


@dataclass(frozen=True)
class Power:
    """A row of the view `power`: the power of one match. Gains, SDs and differences are in the metric's unit."""

    match_id: str
    task: str | None
    purpose: str | None
    generation: int | None
    stream: str | None
    comparison: str  # champion and stock; any two: the standings' pairs
    n: int  # runs of the champion; of any two: of an arm with the median number of runs
    n_other: int
    sd: float | None  # between runs of one program; of any two: within arms, pooled
    sd_other: float | None
    stock_gain: float | None
    level: float  # one-sided, of one comparison
    power: float
    detectable: float | None  # the smallest true difference detected with that power
    detectable_ratio: float | None  # the same as a ratio to stock's gain
    unit: str | None


@dataclass(frozen=True)
class MatchNoise:
    """A row of `queries/power.sql`."""

    match_id: str
    task: str | None
    purpose: str | None
    generation: int | None
    stream: str | None
    unit: str | None
    champion_n: int
    champion_sd: float | None
    stock_n: int
    stock_sd: float | None
    stock_gain: float | None
    stock_se: float | None
    arms: int
    median: int
    sd: float | None

    @property
    def power(self) -> Power | None:
        """None unless two arms have two runs each."""
        samples: tuple[RunSample, RunSample]
        if self.champion_sd is not None and self.stock_sd is not None:
            comparison, level = "champion and stock", LEVEL
            samples = RunSample(self.champion_sd, self.champion_n), RunSample(self.stock_sd, self.stock_n)
        elif self.sd is not None and self.arms > 1 and self.median > 1:
            comparison, level = "any two", ALPHA / 2 / math.comb(self.arms, 2)
            samples = RunSample(self.sd, self.median), RunSample(self.sd, self.median)
        else:
            return None
        (ours, theirs), least = samples, detectable(*samples, POWER, level)
        stock = mean_together([(self.stock_gain, self.stock_se, self.stock_n)])
        times = None if least is None or stock.mean is None else ratio(stock.mean + least, stock)
        return Power(
            self.match_id, self.task, self.purpose, self.generation, self.stream, comparison, ours.n, theirs.n, ours.sd,
            theirs.sd, self.stock_gain, level, POWER, least, times, self.unit,
        )  # fmt: skip


def power_rows(con: duckdb.DuckDBPyConnection) -> list[Power]:
    """One row per match in which at least two arms have at least two runs."""
    return [row for each in typed_rows(con.execute(statement("power")), MatchNoise) if (row := each.power) is not None]


def measured_sd(con: duckdb.DuckDBPyConnection) -> float | None:
    """The SD between runs of one program, with the budget and hardware of the latest match, without held-out tasks;
    None if no program has two verified runs."""
    ((sd,),) = con.execute(statement("noise")).fetchall()
    return None if sd is None else float(sd)
