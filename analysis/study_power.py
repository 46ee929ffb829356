"""The view `power` (statistical power of each match), and the measured noise for planning further runs."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from analysis.power import LEVEL, POWER, RunNoise, RunSample, detectable, pooled
from analysis.tables import statement, typed_rows
from programs.errors import NotFound

if TYPE_CHECKING:
    import duckdb

STOCK = ("control", "a/a")
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
class ArmGains:
    """An arm with its verified gains, and the device-seconds of its runs and their verification."""

    match_id: str
    task: str
    purpose: str | None
    generation: int | None
    stream: str | None
    run_budget: float | None
    hardware_class: str | None
    unit: str | None
    program_id: str
    name: str | None
    role: str | None
    gains: Sequence[float]
    device_seconds: float

    @property
    def is_stock(self) -> bool:
        return self.role in STOCK and self.name == "stock"

    @property
    def conditions(self) -> tuple[object, ...]:
        """The conditions that two comparable arms share."""
        return self.task, self.run_budget, self.hardware_class


@dataclass(frozen=True)
class MeasuredNoise:
    """Noise of a study's runs, and the device-seconds of one run with its verification."""

    noise: RunNoise
    sd_stock: float | None
    sd_others: float | None
    seconds: float
    runs: int
    task: str
    unit: str


def power_rows(con: duckdb.DuckDBPyConnection) -> list[Power]:
    """One row per match in which at least two arms have at least two runs."""
    by_match: dict[str, list[ArmGains]] = defaultdict(list)
    for arm in arm_gains(con):
        by_match[arm.match_id].append(arm)
    return [row for arms in by_match.values() if (row := _row(arms)) is not None]


def measured(con: duckdb.DuckDBPyConnection) -> MeasuredNoise:
    """Noise and cost of runs with the budget and hardware of the latest match, without held-out tasks.

    The SD is for a comparison with stock: root mean square of stock's and the other programs' SDs, each within arms.
    Raises NotFound if no program has two verified runs.
    """
    arms = arm_gains(con)
    latest = next((a for a in reversed(arms) if a.stream != "reserve"), None)
    arms = [a for a in arms if latest and a.conditions == latest.conditions]
    stock = pooled([a.gains for a in arms if a.is_stock])
    others = pooled([a.gains for a in arms if not a.is_stock])
    parts = [part for part in (stock, others) if part is not None]
    if latest is None or not parts:
        hint = "set the noise with --sd, or run more: metaloop match stock my/program.md"
        raise NotFound("no program of this study has two verified runs, so its noise is unknown", hint=hint)
    gains = [gain for a in arms for gain in a.gains]
    mine = [gain for a in arms if a.is_stock for gain in a.gains]
    sd = math.sqrt(math.fsum(sd**2 for sd, _ in parts) / len(parts))
    noise = RunNoise(sd, _degrees(parts), math.fsum(mine) / len(mine) if mine else None)
    seconds = math.fsum(a.device_seconds for a in arms) / len(gains)
    return MeasuredNoise(
        noise, stock and stock[0], others and others[0], seconds, len(gains), latest.task, latest.unit or ""
    )


def arm_gains(con: duckdb.DuckDBPyConnection) -> list[ArmGains]:
    """Arms with verified runs, in the order of their matches."""
    return typed_rows(con.execute(statement("arm_gains")), ArmGains)


def _row(arms: Sequence[ArmGains]) -> Power | None:
    stock = [gain for a in arms if a.is_stock for gain in a.gains]
    champion = next((a.gains for a in arms if a.role == "champion"), None)
    if champion is not None and min(len(champion), len(stock)) > 1:
        sides, level, comparison = (champion, stock), LEVEL, "champion and stock"
        samples = [RunSample(pooled([side])[0], len(side)) for side in sides]  # type: ignore[index]
    else:
        within = pooled([a.gains for a in arms])
        counts = sorted(len(a.gains) for a in arms)
        if within is None or len(arms) < 2 or counts[len(counts) // 2] < 2:
            return None
        level, comparison = ALPHA / 2 / math.comb(len(arms), 2), "any two"
        samples = [RunSample(within[0], counts[len(counts) // 2])] * 2
    gain = math.fsum(stock) / len(stock) if stock else None
    least = detectable(samples[0], samples[1], POWER, level)
    first = arms[0]
    return Power(
        match_id=first.match_id, task=first.task, purpose=first.purpose, generation=first.generation,
        stream=first.stream, comparison=comparison, n=samples[0].n, n_other=samples[1].n, sd=samples[0].sd,
        sd_other=samples[1].sd, stock_gain=gain, level=level, power=POWER, detectable=least,
        detectable_ratio=1.0 + least / gain if least is not None and gain and gain > 0 else None, unit=first.unit,
    )  # fmt: skip


def _degrees(parts: Sequence[tuple[float, int]]) -> int:
    """Degrees of freedom of a mean of variances (Satterthwaite 1946)."""
    rest = math.fsum(sd**4 / df for sd, df in parts)
    total = math.fsum(sd**2 for sd, _ in parts)
    return sum(df for _, df in parts) if rest == 0.0 else max(1, round(total**2 / rest))
