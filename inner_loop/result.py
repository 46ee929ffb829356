"""The result of a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from inner_loop.bench import Bench
from inner_loop.comparison import mean_metric
from inner_loop.night import BY
from programs.common.errors import MetaloopError
from trainer.source import Source


@dataclass(frozen=True)
class RunResult:
    """The result of a run. Seconds are device-seconds except the two wall times; metrics are in the task's unit.

    A finished run is charged exactly its budget: its experiments plus `sandbox` and `forfeited` minus `overshoot`.
    `sandbox` is the CPU time of an agent outside its experiments. The sum of all these costs equals `spent` plus
    `cached_seconds`, except for work lost before a resume.
    """

    run_id: str
    state: Literal["finished", "stopped"]
    final: Source
    final_metric: float | None
    baseline_metric: float | None
    experiments: int
    kept: int  # without `main` of the night before
    charged: float
    spent: float
    cached_seconds: float
    forfeited: float
    overshoot: float
    wall_seconds: float
    experiment_wall_seconds: float
    sandbox: float = 0.0
    repeats: int = 0  # of its experiments: sources that were measured before, with another seed
    reason: str = ""  # why it ended before its budget was spent
    problem: MetaloopError | None = None  # what the user must fix before the run can continue


def result_of(
    bench: Bench, state: Literal["finished", "stopped"], wall_seconds: float, problem: MetaloopError | None, reason: str
) -> RunResult:
    meter, finished = bench.meter, state == "finished"
    head = bench.head if bench.history else None
    return RunResult(
        run_id=bench.run_id,
        state=state,
        final=head.source if head else bench.task.baseline(),
        final_metric=mean_metric(bench, head) if head else None,
        baseline_metric=mean_metric(bench, bench.baseline) if head else None,
        experiments=len(bench.history),
        kept=sum(record.decision == "keep" and record.proposer != BY for record in bench.history),
        charged=bench.budget_seconds if finished else meter.charged,
        spent=meter.spent,
        cached_seconds=meter.cached,
        forfeited=meter.forfeited if finished else 0.0,
        overshoot=meter.overshoot,
        wall_seconds=wall_seconds,
        experiment_wall_seconds=bench.experiment_wall_seconds,
        sandbox=meter.sandbox,
        repeats=sum(record.replicate > 0 for record in bench.history),
        reason=reason,
        problem=problem,
    )
