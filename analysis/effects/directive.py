"""The mean gain of the experiments that cite a directive.

The mixed model estimates the gain of each script over its parent, kept or dropped. The credit is the mean over all
scripts that were tried for the directive, 0 for failed ones; a script that was trained again counts once.
Observational: the researcher chooses what to cite. A script that cites several directives counts in full for each, so
the rows do not add up to the total. A process statement that most experiments cite has no row, because there is nothing
to compare its experiments with.
"""

from __future__ import annotations

from analysis.effects.experiments import HeldDirective, MethodInput
from analysis.effects.rows import CreditRow, figures
from analysis.statistics import Estimate
from analysis.views.scope import Scope
from programs.common.ids import content_id

HABIT = 0.5  # share of experiments above which a statement counts as cited by habit


def make(known: MethodInput) -> list[CreditRow]:
    """One row per directive that was followed, best first; ``q`` is still missing."""
    scope = known.scope
    credits = [
        _credit(scope, row, gain)
        for row, gain in zip(known.cited, known.answers[1], strict=True)
        if row.kind == "idea" or row.n <= HABIT * row.experiments
    ]
    return sorted(credits, key=lambda c: (-c.gain, c.directive_id))


def _credit(scope: Scope, row: HeldDirective, gain: Estimate | None) -> CreditRow:
    programs = tuple(row.program_ids)
    return CreditRow(
        credit_id=content_id("c", "directive", scope.task, row.directive_id), task=scope.task, method="directive",
        stream="search", **figures(gain or Estimate(0.0)), n=row.n, design="observational", unit=scope.unit,
        label=row.text, directive_id=row.directive_id, kind=row.kind, program_ids=programs,
        program_id=programs[0] if len(programs) == 1 else None,
        device_seconds=row.seconds, failures=row.failures, runs_held=row.runs or row.runs_cited, runs=row.runs_cited,
    )  # fmt: skip
