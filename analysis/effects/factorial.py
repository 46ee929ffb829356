"""Planned ablations: the effect of each directive of a program, averaged over the settings of the others."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from analysis.effects import designs
from analysis.effects.experiments import MethodInput
from analysis.effects.rows import CreditRow, figures
from analysis.statistics import Estimate, pooled
from analysis.views.scope import Scope
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


def factorial_credits(scope: Scope) -> list[CreditRow]:
    """One row per factor of each ablation, best first; ``shrunk``: pooled over all of them; ``q`` is still missing.

    The factors of a run come from its program, not from the plan, so that a directive that was removed together with
    its enclosing one counts as removed. A block is a run seed.
    """
    matches: dict[str, list[AblationRun]] = defaultdict(list)
    for row in scope.rows("effects/factorial_runs", AblationRun):
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
    out = []
    for (directive, text, runs, effect), shrunk in zip(found, pooled([effect for *_, effect in found]), strict=True):
        program_id, match_id, shrunk = runs[0].program_id, runs[0].match_id, shrunk or Estimate()
        out.append(CreditRow(
            credit_id=content_id("c", "factorial", scope.task, directive, program_id, match_id), method="factorial",
            task=scope.task, **figures(effect), n=len(runs), design="randomised", unit=scope.unit, label=text,
            directive_id=directive, program_id=program_id, match_id=match_id, shrunk=shrunk.value, shrunk_se=shrunk.se,
        ))  # fmt: skip
    return sorted(out, key=lambda c: (-c.gain, c.credit_id))


def make(known: MethodInput) -> list[CreditRow]:
    return factorial_credits(known.scope)
