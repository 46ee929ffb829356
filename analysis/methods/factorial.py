"""Planned ablations: the effect of each directive of a program, averaged over the settings of the others."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from analysis import designs
from analysis.credit import DirectiveEffect
from analysis.method_input import MethodInput
from analysis.regression import RegressionEffect
from analysis.scope import Scope
from analysis.statistics import interval, pooled, t_test
from programs.ids import content_id


@dataclass(frozen=True)
class AblationRun:
    """A verified run of a planned ablation; ``held``: those of the factors that its program had."""

    match_id: str
    program_id: str
    factors: list[str]
    run_seed: int
    gain: float
    held: list[str]


@dataclass(frozen=True)
class FactorEffect:
    """The effect of one factor of an ablation of ``runs`` runs."""

    directive_id: str
    program_id: str
    match_id: str
    effect: RegressionEffect
    runs: int


@dataclass(frozen=True)
class DirectiveText:
    directive_id: str
    text: str | None


def factorial_credits(scope: Scope) -> list[DirectiveEffect]:
    """One row per factor of each ablation, best first, pooled over all of them; ``q`` is still missing
    (`credit.settled`)."""
    found = factor_effects(scope)
    texts = {row.directive_id: row.text for row in scope.rows("directive_texts", DirectiveText)} if found else {}
    effects = [each.effect for each in found]
    shrunk = pooled([e.estimate for e in effects], [e.se for e in effects], [e.df for e in effects])
    out = []
    for each, post in zip(found, shrunk, strict=True):
        effect, directive = each.effect, each.directive_id
        low, high = interval(effect.estimate, effect.se, effect.df)
        out.append(DirectiveEffect(
            credit_id=content_id("c", "factorial", scope.task, directive, each.program_id, each.match_id),
            task=scope.task, estimate=effect.estimate, se=effect.se, low=low, high=high, n=each.runs, q=None,
            design="randomised", p=t_test(effect.estimate, effect.se, effect.df), unit=scope.unit,
            directive_id=directive, text=texts.get(directive) or directive, program_id=each.program_id,
            match_id=each.match_id, df=effect.df, shrunk=post[0] if post else None, shrunk_se=post[1] if post else None,
        ))  # fmt: skip
    return sorted(out, key=lambda c: (-c.estimate, c.credit_id))


def factor_effects(scope: Scope) -> list[FactorEffect]:
    """Of each ablation.

    The factors of a run come from its program, not from the plan, so that a directive that was removed together with
    its enclosing one counts as removed. A block is a run seed.
    """
    matches: dict[str, list[AblationRun]] = defaultdict(list)
    for row in scope.rows("factorial_runs", AblationRun):
        matches[row.match_id].append(row)
    out = []
    for match_id, runs in matches.items():
        factors = runs[0].factors
        held = [[factor in run.held for factor in factors] for run in runs]
        fitted = designs.estimate(held, [run.gain for run in runs], [run.run_seed for run in runs])
        for factor, effect in zip(factors, fitted, strict=True):
            if effect is not None:
                out.append(FactorEffect(factor, runs[0].program_id, match_id, effect, len(runs)))
    return out


def make(known: MethodInput) -> list[DirectiveEffect]:
    return factorial_credits(known.scope)
