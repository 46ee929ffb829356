"""The gain of a child program over its parent; of several, over one that is chosen without the runs that measure it.

The mean of two parents says little: a child that is as good as its good parent leads the mean by half of what the weak
one lacks. The parent with the higher mean in the child's own match is lucky there, so an equal child looks worse. So
the parent is chosen by what was known when the child was bred.

Paired if that parent ran again in the child's match with the same run seeds: one difference per seed. Else
observational: the parent's runs come from other matches, and a parent that was selected for a lucky score makes its
child look bad. A child is one difference, whatever it changed. The variance of its pairs is moderated by that of the
other children's (Smyth 2004). Each row also has its expected gain after partial pooling with all children, because the
best of many differences is lucky.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from analysis import statistics
from analysis.effects.experiments import MethodInput
from analysis.effects.rows import Design, MutationCredit
from analysis.scope import Scope
from analysis.statistics import interval, mean_interval, pooled, t_test, welch_difference
from programs.common.ids import content_id

LEAST_PAIRS = 2  # seeds that both sides ran, so that the differences have a standard error


class Comparison(NamedTuple):
    """The child's side minus the other one."""

    estimate: float
    se: float | None
    df: float
    n: int
    design: Design


@dataclass(frozen=True)
class Family:
    """A child and one of its parents: the gains of their runs, and the differences on the seeds that both ran."""

    child_id: str
    operator: str
    name: str
    parent_ids: list[str]
    children: list[float]
    parents: list[float]
    pairs: list[float]

    def compared(self) -> Comparison:
        if len(self.pairs) >= LEAST_PAIRS:
            mean = mean_interval(self.pairs)
            return Comparison(mean.mean or 0.0, mean.se, mean.n - 1, mean.n, "paired")
        difference, se, df = welch_difference(self.children, self.parents)
        return Comparison(difference or 0.0, se, df, len(self.children), "observational")


def mutation_credits(scope: Scope) -> list[MutationCredit]:
    """One row per accepted child that ran and whose parents ran, at the same budget; best first."""
    scope.table("family_runs")
    families = scope.rows("family_pairs", Family)
    scope.con.execute("DROP TABLE family_runs")
    made = moderated([family.compared() for family in families])
    posts = pooled([one.estimate for one in made], [one.se for one in made], [one.df for one in made])
    rows = []
    for family, one, post in zip(families, made, posts, strict=True):
        low, high = interval(one.estimate, one.se, one.df)
        rows.append(MutationCredit(
            credit_id=content_id("c", "mutation", scope.task, family.child_id), task=scope.task, estimate=one.estimate,
            se=one.se, low=low, high=high, n=one.n, q=None, p=t_test(one.estimate, one.se, one.df), df=one.df,
            design=one.design, unit=scope.unit, label=f"{family.operator}: {family.name}", program_id=family.child_id,
            child_id=family.child_id, name=family.name, operator=family.operator, parent_ids=tuple(family.parent_ids),
            shrunk=post[0] if post else None, shrunk_se=post[1] if post else None,
        ))  # fmt: skip
    return sorted(rows, key=lambda c: (-c.estimate, c.child_id))


def moderated(every: Sequence[Comparison]) -> list[Comparison]:
    """The same with the variance of each one's pairs mixed with that of all other pairs (`statistics.moderated`): few
    pairs may agree by chance."""
    paired = [one for one in every if one.design == "paired" and one.se]
    mixed = iter(statistics.moderated([(one.df, one.n * (one.se or 0.0) ** 2) for one in paired]))
    return [_with_error(one, *next(mixed)) if one in paired else one for one in every]


def _with_error(one: Comparison, variance: float, df: float) -> Comparison:
    return one._replace(se=math.sqrt(variance / one.n), df=df)


def make(known: MethodInput) -> list[MutationCredit]:
    return mutation_credits(known.scope)
