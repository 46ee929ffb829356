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
from dataclasses import dataclass, replace

from analysis import statistics
from analysis.effects.experiments import MethodInput
from analysis.effects.rows import CreditRow, Design, figures
from analysis.statistics import Estimate, mean_interval, pooled, welch_difference
from analysis.views.scope import Scope
from programs.common.ids import content_id

LEAST_PAIRS = 2  # seeds that both sides ran, so that the differences have a standard error


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

    @property
    def design(self) -> Design:
        return "paired" if len(self.pairs) >= LEAST_PAIRS else "observational"

    @property
    def difference(self) -> Estimate:
        """The child's side minus the other one; ``n``: pairs, or the child's runs."""
        if self.design == "paired":
            return mean_interval(self.pairs)
        return replace(welch_difference(self.children, self.parents), n=len(self.children))


def mutation_credits(scope: Scope) -> list[CreditRow]:
    """One row per accepted child that ran and whose parents ran, at the same budget; best first."""
    scope.table("effects/family_runs")
    families = scope.rows("effects/family_pairs", Family)
    scope.con.execute("DROP TABLE family_runs")
    rows, gains = [], moderated(families)
    for family, gain, shrunk in zip(families, gains, pooled(gains), strict=True):
        shrunk = shrunk or Estimate()
        rows.append(CreditRow(
            credit_id=content_id("c", "mutation", scope.task, family.child_id), task=scope.task, method="mutation",
            **figures(gain), n=gain.n, design=family.design, unit=scope.unit,
            label=f"{family.operator}: {family.name}", program_id=family.child_id, child_id=family.child_id,
            shrunk=shrunk.value, shrunk_se=shrunk.se,
        ))  # fmt: skip
    return sorted(rows, key=lambda c: (-c.gain, c.child_id))


def moderated(families: Sequence[Family]) -> list[Estimate]:
    """The difference of each, with the variance of its pairs mixed with that of all other pairs
    (`statistics.moderated`): few pairs may agree by chance."""
    gains = [family.difference for family in families]
    paired = [i for i, family in enumerate(families) if family.design == "paired" and gains[i].se]
    spreads = statistics.moderated([(gains[i].df, gains[i].n * (gains[i].se or 0.0) ** 2) for i in paired])
    for i, (variance, df) in zip(paired, spreads, strict=True):
        gains[i] = replace(gains[i], se=math.sqrt(variance / gains[i].n), df=df)
    return gains


def make(known: MethodInput) -> list[CreditRow]:
    return mutation_credits(known.scope)
