"""What the final source of a run loses without one of its kept commits: trained again with and without it.

All trainings use the same fresh seeds, so an estimate is a mean of differences within seeds.
"""

from __future__ import annotations

from dataclasses import dataclass

from analysis.effects.experiments import MethodInput
from analysis.effects.rows import CreditEstimate
from analysis.statistics import mean_interval, t_test
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


def make(known: MethodInput) -> list[CreditEstimate]:
    """One row per commit, by run and position in the run; ``q`` is still missing."""
    scope, out = known.scope, []
    for row in scope.rows("left_out", LeftOutCommit):
        mean = mean_interval(row.losses)
        out.append(CreditEstimate(
            credit_id=content_id("c", "leave-one-out", scope.task, row.run_id, row.experiment_id), task=scope.task,
            method="leave-one-out", estimate=mean.mean or 0.0, se=mean.se, low=mean.low, high=mean.high, n=mean.n,
            q=None, p=t_test(mean.mean or 0.0, mean.se, mean.n - 1), df=mean.n - 1, design="paired", unit=scope.unit,
            label=row.label, run_id=row.run_id, program_id=row.program_id, experiment_id=row.experiment_id,
        ))  # fmt: skip
    return out
