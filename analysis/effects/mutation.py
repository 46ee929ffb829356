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
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from analysis.effects.experiments import MethodInput
from analysis.effects.rows import Design, MutationCredit
from analysis.scope import Scope
from analysis.statistics import POOLED_DF, interval, mean_interval, pooled, t_test, welch_difference
from programs.ids import content_id

LEAST_PAIRS = 2  # seeds that both sides ran, so that the differences have a standard error
Comparison = tuple[float, float | None, float, int, Design]  # estimate, se, degrees of freedom, n, design


@dataclass(frozen=True)
class SideRun:
    """A verified run of one of two compared sides, the child's or the other one."""

    match_id: str
    run_seed: int
    child: bool
    gain: float


@dataclass(frozen=True)
class FamilyRun(SideRun):
    """A run of an accepted child, or of one of its parents."""

    child_id: str
    parent_ids: list[str]
    program_id: str  # the child's or the parent's
    operator: str | None = None
    name: str = ""
    is_earlier: bool = False  # of a match of a generation before the child's, so its gain was known to the breeder


def mutation_credits(scope: Scope) -> list[MutationCredit]:
    """One row per accepted child that ran and whose parents ran, at the same budget; best first."""
    families: dict[str, list[FamilyRun]] = defaultdict(list)
    for run in scope.rows("family_runs", FamilyRun):
        families[run.child_id].append(run)
    found = {
        child: known for child, runs in families.items() if (known := compare(beside_one_parent(runs))) is not None
    }
    made = dict(zip(found, moderated(list(found.values())), strict=True))
    every = list(made.values())
    shrunk = pooled([known[0] for known in every], [known[1] for known in every], [known[2] for known in every])
    credits = [_credit(scope, families[child][0], made[child], post) for child, post in zip(made, shrunk, strict=True)]
    return sorted(credits, key=lambda c: (-c.estimate, c.child_id))


def moderated(every: Sequence[Comparison]) -> list[Comparison]:
    """The same with the variance of each one's pairs mixed with that of all other pairs, which counts for `POOLED_DF`
    degrees of freedom or their own number: few pairs may agree by chance."""
    spread = [(df, n * se * se) if design == "paired" and se else (0.0, 0.0) for _, se, df, n, design in every]
    total, squares = math.fsum(df for df, _ in spread), math.fsum(df * variance for df, variance in spread)
    out = []
    for known, (df, variance) in zip(every, spread, strict=True):
        others = min(POOLED_DF, total - df) if df else 0.0
        if others > 0.0:
            prior = max(squares - df * variance, 0.0) / (total - df)
            mixed = (others * prior + df * variance) / (others + df)
            known = known[0], math.sqrt(mixed / known[3]), others + df, known[3], known[4]
        out.append(known)
    return out


def beside_one_parent(runs: Sequence[FamilyRun]) -> list[FamilyRun]:
    """The runs of the child and of one parent: of those that ran beside it on two seeds or more, the one with the
    highest mean gain in earlier matches without the child. Without such matches, or if none ran beside it, the first
    parent: all runs that there are would choose and measure."""
    ran = {run.program_id for run in runs if not run.child}
    own = {(run.match_id, run.run_seed) for run in runs if run.child}
    pairs = Counter(run.program_id for run in runs if not run.child and (run.match_id, run.run_seed) in own)
    parents = list(dict.fromkeys(parent for run in runs for parent in run.parent_ids if parent in ran))
    if beside := [parent for parent in parents if pairs[parent] >= LEAST_PAIRS]:
        matches, known = {match for match, _ in own}, defaultdict[str, list[float]](list)
        for run in runs:
            if run.is_earlier and run.match_id not in matches:
                known[run.program_id].append(run.gain)
        mean = {parent: math.fsum(gains) / len(gains) for parent, gains in known.items()}
        parents = sorted(beside, key=lambda parent: -mean.get(parent, -math.inf))
    return [run for run in runs if run.child or run.program_id in parents[:1]]


def compare(runs: Sequence[SideRun]) -> Comparison | None:
    """The child's side minus the other one; None if one of them never ran."""
    sides: dict[tuple[str, int], dict[bool, float]] = defaultdict(dict)
    for run in runs:
        sides[run.match_id, run.run_seed][run.child] = run.gain
    pairs = [side[True] - side[False] for side in sides.values() if len(side) == 2]
    if len(pairs) >= LEAST_PAIRS:
        mean = mean_interval(pairs)
        return math.fsum(pairs) / len(pairs), mean.se, len(pairs) - 1, len(pairs), "paired"
    children = [run.gain for run in runs if run.child]
    parents = [run.gain for run in runs if not run.child]
    difference, se, df = welch_difference(children, parents)
    return None if difference is None else (difference, se, df, len(children), "observational")


def _credit(scope: Scope, family: FamilyRun, made: Comparison, post: tuple[float, float] | None) -> MutationCredit:
    estimate, se, df, n, design = made
    low, high = interval(estimate, se, df)
    return MutationCredit(
        credit_id=content_id("c", "mutation", scope.task, family.child_id), task=scope.task, estimate=estimate, se=se,
        low=low, high=high, n=n, q=None, p=t_test(estimate, se, df), df=df, design=design, unit=scope.unit,
        label=f"{family.operator or ''}: {family.name}", program_id=family.child_id, child_id=family.child_id,
        name=family.name, operator=family.operator or "", parent_ids=tuple(family.parent_ids),
        shrunk=post[0] if post else None, shrunk_se=post[1] if post else None,
    )  # fmt: skip


def make(known: MethodInput) -> list[MutationCredit]:
    return mutation_credits(known.scope)
