"""What the final source of a run loses without one of its kept commits: trained again with and without it.

All trainings use the same fresh seeds, so an estimate is a mean of differences within seeds.
"""

from __future__ import annotations

from dataclasses import dataclass

from analysis.effects.experiments import MethodInput
from analysis.effects.rows import CreditRow, figures
from analysis.statistics import mean_interval
from programs.common.ids import content_id


@dataclass(frozen=True)
class LeftOutCommit:
    """A kept commit of a replayed run (the experiment that kept it), and what it changed. ``losses``: what the final
    source loses without it, one for each seed on which both trainings are there."""

    run_id: str
    program_id: str
    experiment_id: str
    label: str
    losses: list[float]


def make(known: MethodInput) -> list[CreditRow]:
    """One row per commit, by run and position in the run; ``q`` is still missing."""
    scope, out = known.scope, []
    for row in scope.rows("effects/leave_one_out_losses", LeftOutCommit):
        losses = mean_interval(row.losses)
        out.append(CreditRow(
            credit_id=content_id("c", "leave-one-out", scope.task, row.run_id, row.experiment_id), task=scope.task,
            method="leave-one-out", **figures(losses), n=losses.n, design="paired", unit=scope.unit, label=row.label,
            run_id=row.run_id, program_id=row.program_id, experiment_id=row.experiment_id,
        ))  # fmt: skip
    return out
