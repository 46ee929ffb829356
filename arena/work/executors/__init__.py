"""What carries out a study's jobs: one way per file, further ones by entry point; METALOOP_EXECUTOR=NAME chooses."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, cast

from arena.study.stop import drain_on_interrupt
from arena.study.task_study import TaskStudy, tasks_of
from arena.work.choice import EXECUTORS, chosen
from arena.work.lease import processes

if TYPE_CHECKING:
    from arena.study.study import Study
    from arena.work.executor import ClosingExecutor, Progress


def executor_of(study: Study, progress: Progress, tasks: Sequence[TaskStudy] = ()) -> ClosingExecutor:
    """The executor that the command chose, for jobs on ``tasks`` (default: all but the held-out ones).

    Raises NotFound where its package is not installed.
    """
    processes(study.config)  # refuses to share devices where they cannot be shared
    return cast("ClosingExecutor", EXECUTORS.get(chosen())(study, progress, tasks or tasks_of(study)))


@contextmanager
def at_work(study: Study, progress: Progress) -> Iterator[ClosingExecutor]:
    """The study's lock and its executor, drained by Ctrl-C."""
    with study, drain_on_interrupt(study, progress), executor_of(study, progress) as executor:
        yield executor
