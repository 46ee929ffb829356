"""The AutoResearch loop: a researcher follows one program. It edits train.py, trains, and keeps or discards the change.

    bench.start()            # trains the untouched train.py: the baseline
    researcher.work(bench)   # edit, train, keep or discard, until the budget is spent

Each researcher decides what to try next: `researchers/scripted.py` (wave by wave), `chat.py` (a model), `command.py`
(an agent). The bench runs the experiments, charges them, and records every decision as a commit.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import reduce
from pathlib import Path

from inner_loop.behaviour import failure_of, with_patches
from inner_loop.bench import Bench, BudgetSpent, NoReply, RunStopped, WallSpent, never
from inner_loop.contracts import UNPLANNED, Researcher, TurnOrder
from inner_loop.events import Emit, Event, FindingEvent, RunEndedEvent
from inner_loop.night import Night
from inner_loop.repository import RunRepository
from inner_loop.researchers import find_researcher
from inner_loop.result import result_of
from inner_loop.run_context import RunContext
from programs.common.errors import MetaloopError, ShareSpent
from programs.program import Program
from trainer.devices import Devices
from trainer.experiment import Trainer
from trainer.rows import KEPT
from trainer.source import Source
from trainer.streams import Streams
from trainer.task import Task


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
    beside: Sequence[Program] = (),
    start: Source | None = None,
    order: TurnOrder = UNPLANNED,
) -> RunEndedEvent:
    """Run one program on one task with one seed, from the untouched baseline until its budget is spent.

    `emit` receives each event before the next experiment starts; `recorded` are this run's events of an earlier
    attempt, which is then continued. `folder` becomes the run's git repository (None: no repository). `luck` labels the
    random stream of proposals (None: the run's id). ``context``: what a researcher with a model needs. ``devices``, of
    which ``trainer`` is the first, run a wave in parallel (None: one device). With programs ``beside`` it, all take
    turns in this ``order`` on one lineage (`inner_loop.night`), which goes on from ``start`` (None: from the untouched
    source).
    """
    began = time.perf_counter()
    bench = Bench(
        trainer,
        run_id=run_id,
        run_seed=run_seed,
        streams=streams,
        budget_seconds=budget_seconds,
        emit=emit,
        repository=RunRepository(folder, trainer.task.metric) if folder else None,
        recorded=recorded,
        should_stop=should_stop,
        devices=devices,
        task=reduce(with_patches, (program, *beside), trainer.task),
        kept_errors=KEPT if beside or trainer.task.run is not None else 0.0,
    )
    context = context or RunContext(run_id=run_id, emit=emit, recorded=recorded)
    programs = (program, *beside)

    def follow() -> Researcher:
        return follower_of(programs, trainer.task, streams, luck or run_id, context, researcher, start, order)

    state, problem, reason = followed(bench, follow, programs, emit)
    return result_of(bench, state, time.perf_counter() - began, problem, reason)


def followed(
    bench: Bench, follower: Callable[[], Researcher], programs: Sequence[Program], emit: Emit
) -> tuple[str, MetaloopError | None, str]:
    """Let the researcher work until the end; its state, what has to be mended before it goes on, and why it ended. An
    exception that the texts of the programs cause ends the run with the best source so far."""
    state = "finished"
    problem: MetaloopError | None = None
    reason = ""
    try:
        bench.start()
        follower().work(bench)
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
    except Exception as error:
        if not bench.history:
            raise
        reason = failure_of(error, programs)
        emit(FindingEvent.of_line(reason, run_id=bench.run_id))
    finally:
        bench.close()
    return state, problem, reason


def follower_of(
    programs: Sequence[Program], task: Task, streams: Streams, luck: str, context: RunContext, researcher: str,
    start: Source | None, order: TurnOrder = UNPLANNED,
) -> Researcher:  # fmt: skip
    """The researcher of a run; of several programs, the night. ``task``: without the edits of the programs."""
    seed = streams.seed("search", "propose", luck)
    if len(programs) == 1:
        return find_researcher(researcher)(programs[0], with_patches(task, programs[0]), seed, context)
    more = [streams.seed("search", "propose", luck, at) for at in range(1, len(programs))]
    seeds = [streams.seed("search", "night", luck), seed, *more]
    return Night(programs, task, seeds, context, researcher, start, order)
