"""The effects of a run's kept commits, trained again: rows of `add-one-in`, `leave-one-out`, `shapley`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypedDict

from analysis import replays
from analysis.credit import CommitCredit
from analysis.method_input import MethodInput
from analysis.scope import Scope
from analysis.statistics import t_test
from programs.ids import content_id


class PlannedOrders(TypedDict):
    """``plan`` of a `replay` ablation: by training seed, the orders in which the commits are added."""

    orders: list[list[list[int]]]
    training_seeds: list[int]
    labels: list[str]


@dataclass(frozen=True)
class ReplayedRun:
    """A run whose kept commits (``factors``: their experiments) were planned to be trained again."""

    ablation_id: str
    run_id: str
    program_id: str
    factors: list[str]
    seeds: int
    plan: PlannedOrders


@dataclass(frozen=True)
class ReplayTraining:
    ablation_id: str
    commits: list[str]
    seed: int
    gain: float | None


def replay_credits(scope: Scope) -> list[CommitCredit]:
    """Three rows per commit (two if a run kept more than eight), by method, run and position in the run."""
    measured: dict[str, list[ReplayTraining]] = defaultdict(list)
    for row in scope.rows("replayed", ReplayTraining):
        measured[row.ablation_id].append(row)
    made: dict[str, list[CommitCredit]] = defaultdict(list)
    for planned in scope.rows("replay_plans", ReplayedRun):
        for credit in of_run(scope, planned, measured[planned.ablation_id]):
            made[credit.method].append(credit)
    return [credit for of_method in made.values() for credit in of_method]


def of_run(scope: Scope, planned: ReplayedRun, rows: Sequence[ReplayTraining]) -> list[CommitCredit]:
    """The rows of one replayed run; ``q`` is still missing."""
    plan = planned.plan
    orders = tuple(tuple(tuple(order) for order in of_seed) for of_seed in plan["orders"])
    replay = replays.ReplayPlan(len(planned.factors), planned.seeds, orders)
    index = {experiment: i for i, experiment in enumerate(planned.factors)}
    number = {seed: i for i, seed in enumerate(plan["training_seeds"])}
    gains = {
        (tuple(sorted(index[c] for c in row.commits)), number[row.seed]): row.gain
        for row in rows
        if row.gain is not None and row.seed in number
    }
    out = []
    for method, means in replays.estimate(replay, gains).items():
        for commit, label, mean in zip(planned.factors, plan["labels"], means, strict=True):
            if mean.mean is not None:
                out.append(CommitCredit(
                    credit_id=content_id("c", method, scope.task, planned.run_id, commit), task=scope.task,
                    estimate=mean.mean, se=mean.se, low=mean.low, high=mean.high, n=mean.n, q=None, design="paired",
                    p=t_test(mean.mean, mean.se, mean.n - 1), unit=scope.unit, method=method, label=label,
                    run_id=planned.run_id, program_id=planned.program_id, experiment_id=commit,
                ))  # fmt: skip
    return out


def make(known: MethodInput) -> list[CommitCredit]:
    return replay_credits(known.scope)
