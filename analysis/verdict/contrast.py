"""The difference of the two programs that a match compares, as planned: A against B."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from analysis.statistics import Estimate, satterthwaite, welch_difference
from analysis.verdict.decision import ArmRuns, Arms, EarlierRuns
from analysis.verdict.power import runs_needed
from analysis.views.tables import statement, typed_rows

if TYPE_CHECKING:
    import duckdb


@dataclass(frozen=True)
class Contrast:
    """The ``lead`` of ``first`` over ``second`` (Welch). ``n``: runs of each; ``added``: of
    them, those of earlier studies (name, runs of each). ``needed``: runs of each that show this difference with 80%
    power; None where it is shown, where the spread is unknown, and where a million runs are too few."""

    first: str
    second: str
    unit: str
    lead: Estimate
    n: int
    n_other: int
    needed: int | None
    added: Sequence[tuple[str, int, int]] = ()

    @property
    def better(self) -> str:
        """The name of the program that is shown to be better; empty where neither is."""
        return "" if not self.lead.is_shown else self.first if self.lead.or_zero > 0 else self.second


def arms_of(con: duckdb.DuckDBPyConnection, match_id: str) -> Arms | None:
    """The two programs that the user named first, or the only one and stock; of an open study with `standings`."""
    arms = typed_rows(con.execute(statement("verdict/contrast"), {"match": match_id}), ArmRuns)
    return (arms[0], arms[1]) if len(arms) == 2 else None


def contrast(arms: Arms, earlier: Sequence[EarlierRuns] = ()) -> Contrast:
    """Over the runs of a match and of earlier studies of the same two programs. Studies differ in their seeds and data,
    so each has a difference of its own; they are averaged by their numbers of runs. Studies of other programs do not
    count."""
    first, second = arms
    pair = (first.program_id, second.program_id)
    earlier = [run_pair for run_pair in earlier if (run_pair.arms[0].program_id, run_pair.arms[1].program_id) == pair]
    studies = [arms, *(run_pair.arms for run_pair in earlier)]
    differences: list[tuple[float, Estimate]] = []
    for ours, theirs in studies:
        n, m = len(ours.gains), len(theirs.gains)
        differences.append((n * m / (n + m), welch_difference(ours.gains, theirs.gains)))
    total = sum(weight for weight, _ in differences)
    value = sum(weight * difference.or_zero for weight, difference in differences) / total
    errors = [
        ((weight / total * difference.se) ** 2, difference.df)
        for weight, difference in differences
        if difference.se is not None
    ]
    known = len(errors) == len(differences)
    se = (math.sqrt(sum(error for error, _ in errors)) if known else 0.0) or None  # equal values show no error of 0
    df = satterthwaite(errors) if known and se else sum(difference.df for _, difference in differences)
    n, m = (sum(len(study[side].gains) for study in studies) for side in (0, 1))
    added = [(run_pair.study, len(run_pair.arms[0].gains), len(run_pair.arms[1].gains)) for run_pair in earlier]
    result = Contrast(first.name, second.name, first.unit or "", Estimate(value, se, df), n, m, None, added)
    if result.lead.is_shown or not se:
        return result
    return replace(result, needed=runs_needed(abs(value), se / math.sqrt(1 / n + 1 / m)))
