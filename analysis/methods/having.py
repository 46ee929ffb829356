"""What having a directive does: children against the parents that ran beside them (`analysis.directive_effects`)."""

from __future__ import annotations

from collections import defaultdict

from analysis.credit import DirectiveEffect
from analysis.directive_effects import EffectEstimate, contrasts, credited, directive_effects
from analysis.method_input import MethodInput
from analysis.scope import Scope


def having_credits(scope: Scope) -> list[DirectiveEffect]:
    """One row per directive whose effect the contrasts can tell, best first."""
    held: dict[str, set[str]] = defaultdict(set)
    for found in scope.rows("held"):
        held[found["program_id"]].add(found["directive_id"])
    told = directive_effects(contrasts(scope.rows("family_runs"), held))
    return credited(scope, "having", {(d, None, None): EffectEstimate(e, n, "paired") for d, (e, n) in told.items()})


def make(known: MethodInput) -> list[DirectiveEffect]:
    return having_credits(known.scope)
