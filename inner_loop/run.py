"""The AutoResearch loop: a researcher follows one program. It edits train.py, trains, and keeps or discards the change.

    bench.start()            # trains the untouched train.py: the baseline
    researcher.work(bench)   # edit, train, keep or discard, until the budget is spent

Each researcher decides what to try next: `researchers/scripted.py` (wave by wave), `chat.py` (a model), `command.py`
(an agent). The bench runs the experiments, charges them, and records every decision as a commit.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

from inner_loop.behaviour import with_patches
from inner_loop.bench import Bench, BudgetSpent, RunStopped, WallSpent, never
from inner_loop.events import Emit, Event
from inner_loop.models.contract import NoReply
from inner_loop.models.spend_limiter import ShareSpent
from inner_loop.repository import RunRepository
from inner_loop.researchers import find_researcher
from inner_loop.result import RunResult, result_of
from inner_loop.run_context import RunContext
from programs.errors import MetaloopError
from programs.program import Program
from trainer.devices import Devices
from trainer.experiment import Trainer
from trainer.streams import Streams


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
        task=with_patches(trainer.task, program),
    )
    seed = streams.seed("search", "propose", luck or run_id)
    follower = find_researcher(researcher)(program, bench.task, seed, context or RunContext(run_id=run_id))
    state: Literal["finished", "stopped"] = "finished"
    problem: MetaloopError | None = None
    reason = ""
    try:
        bench.start()
        follower.work(bench)
        reason = bench.early
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
    return result_of(bench, state, time.perf_counter() - began, problem, reason)
