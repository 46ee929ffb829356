"""The AutoResearch loop: a researcher runs experiments until the budget is spent; its best kept source is the
result."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from inner_loop.bench import Bench, BudgetSpent, RunStopped, WallSpent, never
from inner_loop.comparison import mean_metric
from inner_loop.events import Emit, Event
from inner_loop.models.contract import NoReply
from inner_loop.models.spend_limiter import ShareSpent
from inner_loop.repository import RunRepository
from inner_loop.researchers import find_researcher
from inner_loop.run_context import RunContext
from programs.errors import MetaloopError
from programs.program import Program
from trainer.devices import Devices
from trainer.experiment import Trainer
from trainer.source import Source
from trainer.streams import Streams


@dataclass(frozen=True)
class RunResult:
    """The result of a run. Seconds are device-seconds except the two wall times; metrics are in the task's unit.

    A finished run is charged exactly its budget: its experiments plus `idle`, `sandbox` and `forfeited` minus
    `overshoot`. `idle` is the time that leased devices waited for others of their wave, `sandbox` the CPU time of an
    agent outside its experiments. The sum of all these costs equals `spent` plus `cached_seconds`, except for work lost
    before a resume.
    """

    run_id: str
    state: Literal["finished", "stopped"]
    final: Source
    final_metric: float | None
    baseline_metric: float | None
    experiments: int
    kept: int
    charged: float
    spent: float
    cached_seconds: float
    forfeited: float
    overshoot: float
    wall_seconds: float
    experiment_wall_seconds: float
    idle: float = 0.0
    sandbox: float = 0.0
    reason: str = ""  # why it ended before its budget was spent
    problem: MetaloopError | None = None  # what the user must fix before the run can continue


def run(
    program: Program,
    trainer: Trainer,
    *,
    run_id: str,
    run_seed: int,
    streams: Streams,
    budget_seconds: float,
    researcher: str = "scripted",
    emit: Emit,
    folder: Path | None,
    recorded: Sequence[Event] = (),
    should_stop: Callable[[], bool] = never,
    luck: str | None = None,
    context: RunContext | None = None,
    devices: Devices | None = None,
) -> RunResult:
    """Run one program on one task with one seed, from the untouched baseline until its budget is spent.

    `emit` receives each event before the next experiment starts; `recorded` are this run's events of an earlier
    attempt, which is then continued. `folder` becomes the run's git repository (None: no repository). `luck` labels the
    random stream of proposals (None: the run's id). ``context``: what a researcher with a model needs. ``devices``, of
    which ``trainer`` is the first, run a wave in parallel (None: one device).
    """
    began = time.perf_counter()
    bench = Bench(
        trainer,
        run_id=run_id,
        run_seed=run_seed,
        streams=streams,
        budget_seconds=budget_seconds,
        emit=emit,
        repository=RunRepository(folder) if folder else None,
        recorded=recorded,
        should_stop=should_stop,
        devices=devices,
    )
    seed = streams.seed("search", "propose", luck or run_id)
    worker = find_researcher(researcher)(program, trainer.task, seed, context or RunContext(run_id=run_id))
    state: Literal["finished", "stopped"] = "finished"
    problem: MetaloopError | None = None
    reason = ""
    try:
        bench.start()
        worker.work(bench)
    except BudgetSpent:
        pass
    except WallSpent as limit:
        reason = str(limit)
    except RunStopped:
        state = "stopped"
    except NoReply as gone:
        reason = gone.problem.message
        if not isinstance(gone.problem, ShareSpent):  # else the run has spent its share and is finished
            state, problem = "stopped", gone.problem
    finally:
        bench.close()
    return _result(bench, state, time.perf_counter() - began, problem, reason)


def _result(
    bench: Bench,
    state: Literal["finished", "stopped"],
    wall_seconds: float,
    problem: MetaloopError | None,
    reason: str,
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
        kept=sum(record.decision == "keep" for record in bench.history),
        charged=bench.budget_seconds if finished else meter.charged,
        spent=meter.spent,
        cached_seconds=meter.cached,
        forfeited=meter.forfeited if finished else 0.0,
        overshoot=meter.overshoot,
        wall_seconds=wall_seconds,
        experiment_wall_seconds=bench.experiment_wall_seconds,
        idle=meter.idle,
        sandbox=meter.sandbox,
        reason=reason,
        problem=problem,
    )
