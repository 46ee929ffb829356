"""A prior from past studies: gains of programs in units of stock's, pooled over the studies and tasks with runs.

Only runs of selecting matches count, not those of a confirmation, a held-out task or an ablation. A gain is first
shrunk towards the mean of its study (`analysis.evidence.program_scores`), because the best of many is overestimated.
The variance between studies is estimated from programs that ran in several; without such programs, it is set to the
variance between programs, so that a single study counts half.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from analysis.evidence import ProgramScore, program_scores
from analysis.scope import scopes
from analysis.statistics import between_variance
from programs.shelf import starter

if TYPE_CHECKING:
    import duckdb

CLEAR = 2.0  # SEs by which stock's mean gain must exceed 0 to serve as a unit
EXCLUDED = ("confirmation", "reserve", "ablation")


@dataclass(frozen=True)
class PastGain:
    """A program's gain over stock's mean gain on one task of one study; ``se`` includes stock's error."""

    study_id: str
    task: str
    program_id: str
    name: str
    ratio: float
    se: float
    n: int


@dataclass(frozen=True)
class Expected:
    """The prior of a program in a new study: ratio to stock's mean gain, SE including the variance between studies.

    ``n``: number of runs; ``places``: number of studies × tasks.
    """

    program_id: str
    name: str
    ratio: float
    se: float
    n: int
    places: int


def past_gains(con: duckdb.DuckDBPyConnection) -> list[PastGain]:
    """The gains in one open study, task by task, without tasks on which stock has no clear gain."""
    [study_id] = con.execute("SELECT min(study_id) FROM studies").fetchone() or [None]
    sql = "SELECT match_id FROM matches WHERE list_contains(?, purpose)"
    excluded = [match_id for (match_id,) in con.execute(sql, [list(EXCLUDED)]).fetchall()]
    stock_id = starter("stock").program_id
    gains: list[PastGain] = []
    for scope in scopes(con, excluded):
        scores = program_scores(scope)
        stock = next((score for score in scores if score.program_id == stock_id), None)
        if stock is not None and stock.shrunk_mean > CLEAR * stock.shrunk_se:
            gains += [_over(score, stock, str(study_id)) for score in scores if score.program_id != stock_id]
    return gains


def _over(score: ProgramScore, stock: ProgramScore, study_id: str) -> PastGain:
    """The ratio of two posterior means, with SE by the delta method."""
    ratio = score.shrunk_mean / stock.shrunk_mean
    se = math.hypot(score.shrunk_se, ratio * stock.shrunk_se) / stock.shrunk_mean
    return PastGain(study_id, score.task, score.program_id, score.name, ratio, se, score.n)


def expected(rows: Sequence[PastGain]) -> list[Expected]:
    """One row per program, best first.

    The mean over its studies and tasks is weighted by precision; each variance includes the variance between studies
    and tasks (DerSimonian and Laird 1986, pooled over programs by their degrees of freedom). The SE is for a new one.
    """
    by_program: dict[str, list[PastGain]] = defaultdict(list)
    for row in rows:
        by_program[row.program_id].append(row)
    between = _between_studies(list(by_program.values()))
    out = []
    for program_id, mine in by_program.items():
        weights = [1.0 / (row.se**2 + between) for row in mine]
        total = math.fsum(weights)
        mean = math.fsum(w * row.ratio for w, row in zip(weights, mine, strict=True)) / total
        se = math.sqrt(1.0 / total + between)
        n = sum(row.n for row in mine)
        out.append(Expected(program_id, mine[0].name, mean, se, n, len(mine)))
    return sorted(out, key=lambda one: (-one.ratio, one.program_id))


def _between_studies(programs: Sequence[Sequence[PastGain]]) -> float:
    """Variance of one program's true ratio between studies and tasks; if none has two, variance between programs."""
    repeated = [mine for mine in programs if len(mine) > 1]
    if repeated:
        freedom = sum(len(mine) - 1 for mine in repeated)
        return math.fsum((len(mine) - 1) * _spread(mine) for mine in repeated) / freedom
    alone = [mine[0] for mine in programs]
    return _spread(alone) if len(alone) > 1 else 1.0


def _spread(rows: Sequence[PastGain]) -> float:
    """Variance of the true ratios; an SE of 0 counts as a millionth."""
    return between_variance([row.ratio for row in rows], [max(row.se, 1e-6) ** 2 for row in rows])
