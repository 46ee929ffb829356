"""The league: programs that take turns on one train.py, over all nights of a study.

A turn scores log(1 + gain / SD between seeds). One test asks whether any program differs: the spread of the mean scores
against that of random orders within blocks. The largest difference of two programs has Tukey's limit, for blocks and
programs.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from analysis.effects import designs
from analysis.statistics import Estimate
from analysis.views.scope import scopes

if TYPE_CHECKING:
    import duckdb

    from analysis.effects.designs import Floats

ORDERS, SEED, LEVEL = 9_999, 1, 0.05


@dataclass(frozen=True)
class ScoredTurn:
    """A row of ``queries/effects/scored_turns.sql``."""

    run_id: str
    block: int
    program_id: str
    kept: bool
    failed: bool
    score: float


@dataclass(frozen=True)
class LeagueRow:
    """A row of the view `league`: a program. ``difference``: its mean score less that of the other programs in the same
    blocks, with a 95% interval over turns."""

    program_id: str
    turns: int
    kept: float
    failed: float
    score: float
    difference: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class LeagueTest:
    """``p``: of all programs being alike; ``largest``: difference of two programs, ``most``: at most (95%)."""

    p: float
    largest: float
    most: float


def league(con: duckdb.DuckDBPyConnection) -> list[LeagueRow]:
    """Of all programs that took turns in the study, best first."""
    turns = scored_turns(con)
    rows = [_row(program_id, turns) for program_id in dict.fromkeys(turn.program_id for turn in turns)]
    return sorted(rows, key=lambda row: -row.score)


def _row(program_id: str, turns: Sequence[ScoredTurn]) -> LeagueRow:
    program_turns = [turn for turn in turns if turn.program_id == program_id]
    held = [[turn.program_id == program_id] for turn in turns]
    [effect] = designs.estimate(held, [turn.score for turn in turns], [f"{t.run_id} {t.block}" for t in turns])
    difference = effect or Estimate()
    kept, failed, score = (
        math.fsum(getattr(turn, name) for turn in program_turns) / len(program_turns)
        for name in ("kept", "failed", "score")
    )
    return LeagueRow(program_id, len(program_turns), kept, failed, score, difference.value, *difference.interval())


def scored_turns(con: duckdb.DuckDBPyConnection) -> list[ScoredTurn]:
    """The turns of every night of a study, those on one task together."""
    return [turn for scope in scopes(con) for turn in scope.rows("effects/scored_turns", ScoredTurn)]


def league_test(turns: Sequence[ScoredTurn]) -> LeagueTest | None:
    """What the turns show together; None without two blocks in which every program had a turn."""
    import numpy as np

    programs = list(dict.fromkeys(turn.program_id for turn in turns))
    blocks: dict[tuple[str, int], dict[str, float]] = defaultdict(dict)
    for turn in turns:
        blocks[turn.run_id, turn.block][turn.program_id] = turn.score
    whole = [[block[program_id] for program_id in programs] for block in blocks.values() if len(block) == len(programs)]
    if len(whole) < 2 or len(programs) < 2:
        return None
    table = np.array(whole)
    seen, half = largest_difference(table)
    return LeagueTest(alike_p(table), seen, seen + half)


def alike_p(table: Floats, orders: int = ORDERS) -> float:
    """The p of all programs being alike, from their scores [block, program]: the spread of their means against that of
    random orders within blocks."""
    import numpy as np

    rng = np.random.default_rng(SEED)
    seen = np.var(table.mean(axis=0))
    drawn = [np.var(rng.permuted(table, axis=1).mean(axis=0)) for _ in range(orders)]
    return float((1 + sum(spread >= seen - 1e-12 for spread in drawn)) / (1 + orders))


def largest_difference(table: Floats) -> tuple[float, float]:
    """The largest difference of two programs' mean scores [block, program], and by how much it may be larger (Tukey's
    range)."""
    import numpy as np
    from scipy.stats import studentized_range

    rows, columns = table.shape
    rest = table - table.mean(axis=1, keepdims=True) - table.mean(axis=0) + table.mean()
    freedom = (rows - 1) * (columns - 1)
    half = studentized_range.ppf(1 - LEVEL, columns, freedom) * math.sqrt((rest**2).sum() / freedom / rows)
    return float(np.ptp(table.mean(axis=0))), float(half)
