"""The view `power` (statistical power of each match), and the measured noise for planning further runs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from analysis.statistics import divides, mean_together, ratio, satterthwaite
from analysis.tables import statement, typed_rows
from analysis.verdict.power import LEVEL, POWER, RunNoise, RunSample, detectable
from programs.errors import NotFound

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


@dataclass(frozen=True)
class MeasuredNoise:
    """Noise of a study's runs, and the device-seconds of one run with its verification."""

    task: str
    unit: str
    runs: int
    seconds: float
    stock_n: int
    stock_gain: float | None
    stock_se: float | None
    sd_stock: float | None
    sd_others: float | None
    df_stock: int | None
    df_others: int | None

    @property
    def noise(self) -> RunNoise:
        """For a comparison with stock: root mean square of stock's and the other programs' SDs, each within arms.
        Raises NotFound if no program has two verified runs."""
        pairs = ((self.sd_stock, self.df_stock), (self.sd_others, self.df_others))
        parts = [(sd**2, df) for sd, df in pairs if sd is not None and df]
        if not parts:
            raise NotFound(UNKNOWN, hint=HINT)
        total = math.fsum(variance for variance, _ in parts)
        df = max(1, round(satterthwaite(parts))) if total else sum(df for _, df in parts)
        stock = mean_together([(self.stock_gain, self.stock_se, self.stock_n)])
        return RunNoise(math.sqrt(total / len(parts)), df, stock.mean if divides(stock) else None)


UNKNOWN = "no program of this study has two verified runs, so its noise is unknown"
HINT = "set the noise with --sd, or run more: metaloop match stock my/program.md"


def power_rows(con: duckdb.DuckDBPyConnection) -> list[Power]:
    """One row per match in which at least two arms have at least two runs."""
    return [row for each in typed_rows(con.execute(statement("power")), MatchNoise) if (row := each.power) is not None]


def measured(con: duckdb.DuckDBPyConnection) -> MeasuredNoise:
    """Noise and cost of runs with the budget and hardware of the latest match, without held-out tasks.

    Raises NotFound if no program has two verified runs.
    """
    found = typed_rows(con.execute(statement("noise")), MeasuredNoise)
    if not found or not (found[0].df_stock or found[0].df_others):
        raise NotFound(UNKNOWN, hint=HINT)
    return found[0]
