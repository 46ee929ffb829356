"""What past studies say of programs: their gains in units of stock's, pooled over the studies and tasks they ran on.

Only runs that chose programs count: a confirmation, a reserved task or an ablation is for the study that it belongs to.
A figure of one study is drawn towards that study's mean first (`analysis.evidence.program_scores`), so that the best of
many is not believed as it stands. Studies differ by more than luck: how much is estimated from programs that ran in
several, or, where none did, taken to be as much as programs differ from each other, so that one study tells half.
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

CLEAR = 2.0  # se by which stock's mean gain must exceed 0, or nothing can be told in units of it
LEFT_OUT = ("confirmation", "reserve", "ablation", "same-spend")


@dataclass(frozen=True)
class PastGain:
    """A program's gain over stock's mean gain on one task of one study; ``se`` counts stock's error too."""

    study_id: str
    task: str
    program_id: str
    name: str
    ratio: float
    se: float
    n: int


@dataclass(frozen=True)
class Expected:
    """What a new study may expect of a program: ratio to stock's mean gain, se with what studies differ by.

    ``n``: runs that it rests on; ``places``: studies and tasks.
    """

    program_id: str
    name: str
    ratio: float
    se: float
    n: int
    places: int


def past_gains(con: duckdb.DuckDBPyConnection) -> list[PastGain]:
    """What one open study says, task by task; nothing of tasks on which stock did not clearly gain."""
    [study_id] = con.execute("SELECT min(study_id) FROM studies").fetchone() or [None]
    sql = "SELECT match_id FROM matches WHERE list_contains(?, purpose)"
    excluded = [match_id for (match_id,) in con.execute(sql, [list(LEFT_OUT)]).fetchall()]
    stock_id = starter("stock").program_id
    gains: list[PastGain] = []
    for scope in scopes(con, excluded):
        scores = program_scores(scope)
        stock = next((score for score in scores if score.program_id == stock_id), None)
        if stock is not None and stock.shrunk_mean > CLEAR * stock.shrunk_se:
            gains += [_over(score, stock, str(study_id)) for score in scores if score.program_id != stock_id]
    return gains


def _over(score: ProgramScore, stock: ProgramScore, study_id: str) -> PastGain:
    """The ratio of two posterior means, its se by the delta method."""
    ratio = score.shrunk_mean / stock.shrunk_mean
    se = math.hypot(score.shrunk_se, ratio * stock.shrunk_se) / stock.shrunk_mean
    return PastGain(study_id, score.task, score.program_id, score.name, ratio, se, score.n)


def expected(rows: Sequence[PastGain]) -> list[Expected]:
    """One row a program, best first.

    The mean over its places is weighted by precision, each place's variance raised by what places differ by
    (DerSimonian and Laird 1986, pooled over programs by their degrees of freedom); the se is that of a further place.
    """
    by_program: dict[str, list[PastGain]] = defaultdict(list)
    for row in rows:
        by_program[row.program_id].append(row)
    apart = _between_places(list(by_program.values()))
    out = []
    for program_id, mine in by_program.items():
        weights = [1.0 / (row.se**2 + apart) for row in mine]
        total = math.fsum(weights)
        mean = math.fsum(w * row.ratio for w, row in zip(weights, mine, strict=True)) / total
        se = math.sqrt(1.0 / total + apart)
        n = sum(row.n for row in mine)
        out.append(Expected(program_id, mine[0].name, mean, se, n, len(mine)))
    return sorted(out, key=lambda one: (-one.ratio, one.program_id))


def _between_places(programs: Sequence[Sequence[PastGain]]) -> float:
    """Variance of one program's true ratio between places; of ratios between programs where none was in two."""
    repeated = [mine for mine in programs if len(mine) > 1]
    if repeated:
        freedom = sum(len(mine) - 1 for mine in repeated)
        return math.fsum((len(mine) - 1) * _spread(mine) for mine in repeated) / freedom
    alone = [mine[0] for mine in programs]
    return _spread(alone) if len(alone) > 1 else 1.0


def _spread(rows: Sequence[PastGain]) -> float:
    """Variance of the true ratios behind these; those that are known for certain count as known to a millionth."""
    return between_variance([row.ratio for row in rows], [max(row.se, 1e-6) ** 2 for row in rows])
