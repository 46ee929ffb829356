"""What having a directive does: children against the parents that ran beside them (`analysis.directive_effects`)."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from analysis.credit import DirectiveEffect
from analysis.directive_effects import EffectEstimate, contrasts, credited, directive_effects
from analysis.families import FamilyRun
from analysis.method_input import MethodInput
from analysis.scope import Scope


@dataclass(frozen=True)
class DirectiveOfProgram:
    program_id: str
    directive_id: str


def having_credits(scope: Scope) -> list[DirectiveEffect]:
    """One row per directive with an estimable effect, best first."""
    held: dict[str, set[str]] = defaultdict(set)
    for row in scope.rows("held", DirectiveOfProgram):
        held[row.program_id].add(row.directive_id)
    effects = directive_effects(contrasts(scope.rows("family_runs", FamilyRun), held))
    return credited(scope, "having", {(d, None, None): EffectEstimate(e, n, "paired") for d, (e, n) in effects.items()})


def make(known: MethodInput) -> list[DirectiveEffect]:
    return having_credits(known.scope)
