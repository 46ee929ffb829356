"""The difference of the two programs that a match compares, as planned: A against B."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from analysis.statistics import ErrorEstimate, interval, satterthwaite, t_test, welch_difference
from analysis.tables import statement, typed_rows
from analysis.verdict.power import runs_needed

if TYPE_CHECKING:
    import duckdb

Arms = tuple["ArmRuns", "ArmRuns"]


@dataclass(frozen=True)
class ArmRuns:
    """A program's verified gains in a match, in ``unit``; arms with equal task and budget can be compared."""

    program_id: str
    name: str
    unit: str | None
    task_id: str | None
    run_budget: float | None
    gains: Sequence[float]


@dataclass(frozen=True)
class Contrast:
    """``first`` minus ``second``, with a 95% interval (Welch) and its two-sided p. ``n``: runs of each. ``needed``:
    runs of each that show this difference with 80% power; None where it is shown, where the spread is unknown, and
    where a million runs are too few."""

    first: str
    second: str
    unit: str
    difference: float
    low: float | None
    high: float | None
    p: float | None
    n: int
    n_other: int
    needed: int | None

    @property
    def is_shown(self) -> bool:
        """Whether the interval excludes 0."""
        return self.low is not None and self.high is not None and not self.low <= 0 <= self.high


def arms_of(con: duckdb.DuckDBPyConnection, match_id: str) -> Arms | None:
    """The two programs that the user named first, or the only one and stock; of an open study with `standings`."""
    arms = typed_rows(con.execute(statement("contrast"), {"match": match_id}), ArmRuns)
    return (arms[0], arms[1]) if len(arms) == 2 else None


def contrast(studies: Sequence[Arms]) -> Contrast:
    """Over the runs of one or more studies of the same two programs. Studies differ in their seeds and data, so each
    has a difference of its own; they are averaged by their numbers of runs. Studies of other programs do not count."""
    first, second = studies[0]
    pair = (first.program_id, second.program_id)
    studies = [one for one in studies if (one[0].program_id, one[1].program_id) == pair]
    each: list[tuple[float, ErrorEstimate]] = []
    for ours, theirs in studies:
        difference, se, df = welch_difference(ours.gains, theirs.gains)
        n, m = len(ours.gains), len(theirs.gains)
        each.append((n * m / (n + m), ErrorEstimate(difference or 0.0, se, df)))
    total = sum(weight for weight, _ in each)
    value = sum(weight * one.value for weight, one in each) / total
    errors = [((weight / total * one.se) ** 2, one.df) for weight, one in each if one.se is not None]
    known = len(errors) == len(each)
    se = (math.sqrt(sum(error for error, _ in errors)) if known else 0.0) or None  # equal values show no error of 0
    df = satterthwaite(errors) if known and se else sum(one.df for _, one in each)
    low, high = interval(value, se, df)
    n, m = (sum(len(study[side].gains) for study in studies) for side in (0, 1))
    p = t_test(value, se, df)
    found = Contrast(first.name, second.name, first.unit or "", value, low, high, p, n, m, None)
    if found.is_shown or not se:
        return found
    return replace(found, needed=runs_needed(abs(value), se / math.sqrt(1 / n + 1 / m)))
