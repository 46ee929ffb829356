"""Planned ablations: the effect of each directive of a program, averaged over the settings of the others."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from analysis.effects import designs
from analysis.effects.experiments import MethodInput
from analysis.effects.rows import CreditEstimate
from analysis.scope import Scope
from analysis.statistics import interval, pooled, t_test
from programs.common.ids import content_id


@dataclass(frozen=True)
class AblationRun:
    """A verified run of a planned ablation; ``held``: those of the factors that its program had. ``texts``: what the
    factors say."""

    match_id: str
    program_id: str
    factors: list[str]
    texts: list[str]
    run_seed: int
    gain: float
    held: list[str]


def factorial_credits(scope: Scope) -> list[CreditEstimate]:
    """One row per factor of each ablation, best first; ``shrunk``: pooled over all of them; ``q`` is still missing.

    The factors of a run come from its program, not from the plan, so that a directive that was removed together with
    its enclosing one counts as removed. A block is a run seed.
    """
    matches: dict[str, list[AblationRun]] = defaultdict(list)
    for row in scope.rows("factorial_runs", AblationRun):
        matches[row.match_id].append(row)
    found = []
    for runs in matches.values():
        held = [[factor in run.held for factor in run.factors] for run in runs]
        fitted = designs.estimate(held, [run.gain for run in runs], [run.run_seed for run in runs])
        found += [
            (factor, text, runs, effect)
            for factor, text, effect in zip(runs[0].factors, runs[0].texts, fitted, strict=True)
            if effect is not None
        ]
    effects = [effect for *_, effect in found]
    shrunk = pooled([e.estimate for e in effects], [e.se for e in effects], [e.df for e in effects])
    out = []
    for (directive, text, runs, effect), post in zip(found, shrunk, strict=True):
        low, high = interval(effect.estimate, effect.se, effect.df)
        program_id, match_id = runs[0].program_id, runs[0].match_id
        out.append(CreditEstimate(
            credit_id=content_id("c", "factorial", scope.task, directive, program_id, match_id), method="factorial",
            task=scope.task, estimate=effect.estimate, se=effect.se, low=low, high=high, n=len(runs), q=None,
            p=t_test(effect.estimate, effect.se, effect.df), df=effect.df, design="randomised", unit=scope.unit,
            label=text, directive_id=directive, program_id=program_id, match_id=match_id,
            shrunk=post[0] if post else None, shrunk_se=post[1] if post else None,
        ))  # fmt: skip
    return sorted(out, key=lambda c: (-c.estimate, c.credit_id))


def make(known: MethodInput) -> list[CreditEstimate]:
    return factorial_credits(known.scope)
