"""Planned ablations: the effect of each directive of a program, averaged over the settings of the others."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from analysis import designs
from analysis.credit import DirectiveEffect
from analysis.directive_effects import EffectEstimate, Key, credited
from analysis.method_input import MethodInput
from analysis.scope import Scope


@dataclass(frozen=True)
class AblationRun:
    """A verified run of a planned ablation; ``held``: those of the factors that its program had."""

    match_id: str
    program_id: str
    factors: list[str]
    run_seed: int
    gain: float
    held: list[str]


def factorial_credits(scope: Scope) -> list[DirectiveEffect]:
    """One row per factor of each ablation, best first.

    The factors of a run come from its program, not from the plan, so that a directive that was removed together with
    its enclosing one counts as removed. A block is a run seed.
    """
    matches: dict[str, list[AblationRun]] = defaultdict(list)
    for row in scope.rows("factorial_runs", AblationRun):
        matches[row.match_id].append(row)
    estimates: dict[Key, EffectEstimate] = {}
    for match_id, runs in matches.items():
        factors = runs[0].factors
        held = [[factor in run.held for factor in factors] for run in runs]
        fitted = designs.estimate(held, [run.gain for run in runs], [run.run_seed for run in runs])
        for factor, effect in zip(factors, fitted, strict=True):
            if effect is not None:
                estimates[factor, runs[0].program_id, match_id] = EffectEstimate(effect, len(runs), "randomised")
    return credited(scope, "factorial", estimates)


def make(known: MethodInput) -> list[DirectiveEffect]:
    return factorial_credits(known.scope)
