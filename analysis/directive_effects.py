"""The effect of having a directive on the verified gain of a run: children minus parents in the same match.

Every accepted child that shares a match and run seeds with its parents is a contrast: its gain minus theirs, over the
directives it added and removed. The contrasts are fitted together, with an intercept for each family and run seed, so
the selection of the parents does not bias them; a regression over the evolved programs themselves is confounded by
selection (its 95% intervals covered 49 to 79%). Errors are clustered by match and run seed, because arms may share luck
and one parent has several children. Directives that always changed together have no row: the difference belongs to the
mutation.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from analysis.credit import Design, DirectiveEffect
from analysis.families import FamilyRun
from analysis.pooling import pooled
from analysis.regression import RegressionEffect, effects
from analysis.scope import Scope
from analysis.statistics import interval, mean_interval, t_test
from programs.ids import content_id

MOST_ROWS, MOST_COLUMNS = 1500, 150  # of one regression; larger studies use only children with a single change


@dataclass(frozen=True)
class Contrast:
    """One run of a child, or the mean of the parents of a family that ran: the changed directives, and the gain."""

    family: tuple[str, str]  # match, parents
    seed: int
    changed: Mapping[str, float]  # directive → 1 added, -1 removed, halves where only one of two parents had it
    gain: float


def contrasts(runs: Iterable[FamilyRun], held: Mapping[str, set[str]]) -> list[Contrast]:
    """``held``: program → its directives. Parents count once per family and seed."""
    children: dict[tuple[tuple[str, str], int], dict[str, float]] = defaultdict(dict)
    parents: dict[tuple[tuple[str, str], int], dict[str, float]] = defaultdict(dict)
    for run in runs:
        side = children if run.child else parents
        side[(run.match_id, " ".join(run.parent_ids)), run.run_seed][run.program_id] = run.gain
    rows = []
    for (family, seed), ran in parents.items():
        if own := children.get((family, seed)):
            rows.append(Contrast(family, seed, {}, math.fsum(ran.values()) / len(ran)))
            before = [held.get(parent, set()) for parent in ran]
            rows += [Contrast(family, seed, _changed(held.get(c, set()), before), gain) for c, gain in own.items()]
    return rows


def _changed(child: set[str], parents: Sequence[set[str]]) -> dict[str, float]:
    every = sorted(child.union(*parents))
    shares = {d: (d in child) - sum(d in parent for parent in parents) / len(parents) for d in every}
    return {d: share for d, share in shares.items() if share}


def directive_effects(rows: Sequence[Contrast]) -> dict[str, tuple[RegressionEffect, int]]:
    """directive → (effect, number of runs that differ in it from their family's parents)."""
    import numpy as np

    columns = {d: i for i, d in enumerate(sorted({d for row in rows for d in row.changed}))}
    if not columns:
        return {}
    if len(rows) > MOST_ROWS or len(columns) > MOST_COLUMNS:
        return _one_by_one(rows)
    x = np.zeros((len(rows), len(columns)))
    for i, row in enumerate(rows):
        for directive, share in row.changed.items():
            x[i, columns[directive]] = share
    block = _numbered((row.family, row.seed) for row in rows)
    cluster = _numbered((row.family[0], row.seed) for row in rows)
    fitted = effects(x, np.array([row.gain for row in rows]), np.array(block), np.array(cluster))
    counts = (x != 0.0).sum(axis=0)
    return {d: (effect, int(counts[i])) for d, i in columns.items() if (effect := fitted[i]) is not None}


def _one_by_one(rows: Sequence[Contrast]) -> dict[str, tuple[RegressionEffect, int]]:
    """Each directive from the children that changed only it, minus their parents: for very large studies."""
    parents = {(row.family, row.seed): row.gain for row in rows if not row.changed}
    pairs: dict[str, dict[object, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        key = row.family, row.seed
        if len(row.changed) == 1 and key in parents:
            [(directive, share)] = row.changed.items()
            pairs[directive][key].append((row.gain - parents[key]) / share)
    fitted: dict[str, tuple[RegressionEffect, int]] = {}
    for directive, by_key in sorted(pairs.items()):
        mean = mean_interval([math.fsum(own) / len(own) for own in by_key.values()])
        fitted[directive] = RegressionEffect(mean.mean or 0.0, mean.se, mean.n - 1), sum(map(len, by_key.values()))
    return fitted


def _numbered(names: Iterable[object]) -> list[int]:
    known: dict[object, int] = {}
    return [known.setdefault(name, len(known)) for name in names]


def joined(rows: Sequence[DirectiveEffect]) -> list[DirectiveEffect]:
    """The same rows, each with the joint estimate of all rows of its directive, which share no runs."""
    means = by_precision((row.directive_id, row.estimate, row.se) for row in rows)
    return [replace(row, joint_estimate=means.get(row.directive_id)) for row in rows]


def by_precision(rows: Iterable[tuple[str, float, float | None]]) -> dict[str, float]:
    """directive → mean of its estimates, weighted by precision, from (directive, estimate, se)."""
    weights: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for directive, estimate, se in rows:
        if se:
            weights[directive].append((se**-2, estimate))
    return {d: math.fsum(w * e for w, e in own) / math.fsum(w for w, _ in own) for d, own in weights.items()}


Key = tuple[str, str | None, str | None]  # directive, program, match


@dataclass(frozen=True)
class DirectiveText:
    directive_id: str
    text: str | None


@dataclass(frozen=True)
class EffectEstimate:
    """An effect with its number of runs and its design."""

    effect: RegressionEffect
    n: int
    design: Design
    followed: int | None = None  # runs
    held: int | None = None


def credited(scope: Scope, method: str, estimates: Mapping[Key, EffectEstimate]) -> list[DirectiveEffect]:
    """Rows of the view, best first, pooled over all of them; ``q`` is still missing (`credit.settled`)."""
    rows = scope.rows("directive_texts", DirectiveText) if estimates else []
    texts = {row.directive_id: row.text for row in rows}
    fits = [known.effect for known in estimates.values()]
    shrunk = pooled([e.estimate for e in fits], [e.se for e in fits])
    out = []
    for ((directive, program, match), known), post in zip(estimates.items(), shrunk, strict=True):
        effect, where = known.effect, [part for part in (program, match) if part is not None]
        low, high = interval(effect.estimate, effect.se, effect.df)
        out.append(DirectiveEffect(
            credit_id=content_id("c", method, scope.task, directive, *where), task=scope.task,
            estimate=effect.estimate, se=effect.se, low=low, high=high, n=known.n, q=None, design=known.design,
            p=t_test(effect.estimate, effect.se, effect.df), unit=scope.unit, method=method,
            directive_id=directive, text=texts.get(directive) or directive,
            program_id=program, match_id=match, runs_held=known.held, runs_followed=known.followed, df=effect.df,
            shrunk=post[0] if post else None, shrunk_se=post[1] if post else None,
        ))  # fmt: skip
    return sorted(out, key=lambda c: (-c.estimate, c.credit_id))
