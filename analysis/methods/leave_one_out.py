"""What the final source of a run loses without one of its kept commits: trained again with and without it.

All trainings use the same fresh seeds, so an estimate is a mean of differences within seeds.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypedDict

from analysis.credit import CommitCredit
from analysis.method_input import MethodInput
from analysis.scope import Scope
from analysis.statistics import mean_interval, t_test
from programs.ids import content_id


class ReplayPlan(TypedDict):
    """``plan`` of a `replay` ablation: the fresh seeds, and what each commit changed."""

    training_seeds: list[int]
    labels: list[str]


@dataclass(frozen=True)
class ReplayedRun:
    """A run whose kept commits (``factors``: their experiments) were planned to be trained again."""

    ablation_id: str
    run_id: str
    program_id: str
    factors: list[str]
    plan: ReplayPlan


@dataclass(frozen=True)
class ReplayTraining:
    ablation_id: str
    commits: list[str]
    seed: int
    gain: float | None


def replay_credits(scope: Scope) -> list[CommitCredit]:
    """One row per commit, by run and position in the run."""
    measured: dict[str, list[ReplayTraining]] = defaultdict(list)
    for row in scope.rows("replayed", ReplayTraining):
        measured[row.ablation_id].append(row)
    return [
        credit
        for planned in scope.rows("replay_plans", ReplayedRun)
        for credit in of_run(scope, planned, measured[planned.ablation_id])
    ]


def of_run(scope: Scope, planned: ReplayedRun, rows: Sequence[ReplayTraining]) -> list[CommitCredit]:
    """The rows of one replayed run, from the seeds on which both trainings are there; ``q`` is still missing."""
    gains = {(frozenset(row.commits), row.seed): row.gain for row in rows if row.gain is not None}
    every = frozenset(planned.factors)
    whole, out = {seed: gain for (commits, seed), gain in gains.items() if commits == every}, []
    for commit, label in zip(planned.factors, planned.plan["labels"], strict=True):
        less = {seed: gains.get((every - {commit}, seed)) for seed in planned.plan["training_seeds"] if seed in whole}
        mean = mean_interval([whole[seed] - gain for seed, gain in less.items() if gain is not None])
        if mean.mean is not None:
            out.append(CommitCredit(
                credit_id=content_id("c", "leave-one-out", scope.task, planned.run_id, commit), task=scope.task,
                estimate=mean.mean, se=mean.se, low=mean.low, high=mean.high, n=mean.n, q=None, design="paired",
                p=t_test(mean.mean, mean.se, mean.n - 1), unit=scope.unit, label=label, run_id=planned.run_id,
                program_id=planned.program_id, experiment_id=commit,
            ))  # fmt: skip
    return out


def make(known: MethodInput) -> list[CommitCredit]:
    return replay_credits(known.scope)
