"""The result of a run."""

from __future__ import annotations

from inner_loop.bench import Bench
from inner_loop.comparison import mean_metric
from inner_loop.events import RunEndedEvent
from inner_loop.night import BY
from programs.common.errors import MetaloopError


def result_of(
    bench: Bench, state: str, wall_seconds: float, problem: MetaloopError | None, reason: str
) -> RunEndedEvent:
    """The end of a run, without the calls of its models, which only its worker knows."""
    meter, finished, head = bench.meter, state == "finished", bench.head if bench.history else None
    final = head.source if head else bench.task.baseline()
    final_metric = mean_metric(bench, head) if head else None
    baseline_metric = mean_metric(bench, bench.baseline) if head else None
    gain = None
    if final_metric is not None and baseline_metric is not None:
        gain = bench.task.sign * (baseline_metric - final_metric)
    return RunEndedEvent(
        run_id=bench.run_id,
        state=state,
        final_metric=final_metric,
        baseline_metric=baseline_metric,
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
        final_source_id=final.source_id,
        claimed_best=final_metric,
        claimed_gain=gain,
        final=final,
        problem=problem,
    )
