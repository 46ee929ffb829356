"""What each program contributed to a night, and the one test of two programs.

Programs take turns on one lineage in random blocks, so within a block each turn is as likely to be one program's as
another's: the test compares the turns of two programs within blocks with all their possible orders. A turn counts
log(1 + gain / SD between seeds), because the first finds of a night are many times larger than the last ones.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from analysis.statistics import Estimate, mean_interval, t_quantile
from analysis.views.tables import statement, typed_rows
from trainer.rows import pooled_sd

if TYPE_CHECKING:
    import duckdb

EARLY = 24  # turns of a night, of all programs together, that are told apart from the later ones
ORDERS, SEED = 9_999, 1  # random orders of the test, and their seed


@dataclass(frozen=True)
class NightTurnRow:
    """The columns of the view `night_turns` that are used here."""

    run_id: str
    number: int
    block: int
    program_id: str
    experiments: int
    kept: int | None
    gain: float
    device_seconds_charged: float


Nights = Sequence[tuple[Sequence[NightTurnRow], float | None]]  # the turns of each, and its SD between seeds


@dataclass(frozen=True)
class Contribution:
    """A row of the view `contributions`: a program of a night. Gains in the metric's unit, of what became `main`."""

    run_id: str
    program_id: str
    turns: int
    experiments: int
    kept: int
    gain: float
    device_seconds_charged: float
    gain_per_hour: float | None  # of device time
    low: float | None  # of `_interval`
    high: float | None
    gain_early: float  # in the first EARLY turns of the night
    gain_late: float  # in its second half


def contributions(con: duckdb.DuckDBPyConnection) -> list[Contribution]:
    """Of every night of a study; reads the view `night_turns`."""
    nights: dict[str, list[NightTurnRow]] = defaultdict(list)
    for row in turns_of(con):
        nights[row.run_id].append(row)
    return [
        _contribution(program_id, rows)
        for rows in nights.values()
        for program_id in dict.fromkeys(r.program_id for r in rows)
    ]


def turns_of(con: duckdb.DuckDBPyConnection) -> list[NightTurnRow]:
    return typed_rows(con.execute("FROM night_turns ORDER BY run_id, number"), NightTurnRow)


def _contribution(program_id: str, night: Sequence[NightTurnRow]) -> Contribution:
    turns_of_program = [row for row in night if row.program_id == program_id]
    seconds, gain = (
        math.fsum(row.device_seconds_charged for row in turns_of_program),
        math.fsum(row.gain for row in turns_of_program),
    )
    estimate = mean_interval([row.gain for row in turns_of_program])
    low, high = _interval(estimate, sum(row.gain != 0.0 for row in turns_of_program))
    per_hour = 3600 * len(turns_of_program) / seconds if seconds else 0.0

    def at(value: float | None) -> float | None:
        return None if value is None or not seconds else value * per_hour

    half = len(night) / 2
    return Contribution(
        run_id=turns_of_program[0].run_id,
        program_id=program_id,
        turns=len(turns_of_program),
        experiments=sum(row.experiments for row in turns_of_program),
        kept=sum(row.kept is not None for row in turns_of_program),
        gain=gain,
        device_seconds_charged=seconds,
        gain_per_hour=at(estimate.value),
        low=at(low),
        high=at(high),
        gain_early=math.fsum(row.gain for row in turns_of_program if row.number < EARLY),
        gain_late=math.fsum(row.gain for row in turns_of_program if row.number >= half),
    )


def _interval(mean: Estimate, finds: int) -> tuple[float | None, float | None]:
    """The 95% interval of the mean gain of turns, as if they were alike: Student's, of its logarithm, with as many
    degrees of freedom as turns found something. Most turns gain nothing and few gain much, so an interval that is as
    wide on both sides lies too low. None where all gained the same, and without a gain."""
    if not mean.se or mean.or_zero <= 0.0:
        return None, None
    factor = math.exp(t_quantile(0.975, finds) * mean.se / mean.or_zero)
    return mean.or_zero / factor, mean.or_zero * factor


def seed_sd(con: duckdb.DuckDBPyConnection, run_id: str) -> float | None:
    """The SD between seeds by what a run has trained twice; None without any."""
    sd = pooled_sd(metrics for (metrics,) in con.execute(statement("effects/repeats"), {"run": run_id}).fetchall())
    return sd[0] if sd else None


def scores(turns: Sequence[NightTurnRow], sd: float | None) -> list[float]:
    """What each turn counts. Without an SD (or with 0), whether it was kept."""
    return [math.log1p(max(0.0, row.gain) / sd) if sd else float(row.kept is not None) for row in turns]


def equal_blocks(nights: Nights, reference: str, tested: str) -> list[tuple[list[float], list[float]]]:
    """The scores of ``tested`` and of ``reference`` in each block in which both had as many turns, at least one: not
    in one that the end of the night cut short."""
    blocks: dict[tuple[int, int], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for at, (turns, sd) in enumerate(nights):
        for row, score in zip(turns, scores(turns, sd), strict=True):
            blocks[at, row.block][row.program_id].append(score)
    pairs = [(block[tested], block[reference]) for block in blocks.values()]
    return [(tested_scores, other) for tested_scores, other in pairs if 0 < len(tested_scores) == len(other)]


def block_test(nights: Nights, reference: str, tested: str) -> float:
    """The one-sided p of ``tested`` being better than ``reference``, from `equal_blocks`; 1 without any."""
    import numpy as np

    seen, drawn = 0.0, np.zeros(ORDERS)
    rng = np.random.default_rng(SEED)
    for of_tested, other in equal_blocks(nights, reference, tested):
        if not any((*of_tested, *other)):
            continue
        both = np.array([*of_tested, *other])
        seen += both[: len(of_tested)].mean() - both[len(of_tested) :].mean()
        orders = rng.permuted(np.tile(both, (ORDERS, 1)), axis=1)
        drawn += orders[:, : len(of_tested)].mean(axis=1) - orders[:, len(of_tested) :].mean(axis=1)
    return float((1 + np.sum(drawn >= seen - 1e-12)) / (1 + ORDERS))
