"""On this machine: worker processes where anything trains, this process for simulated tasks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from arena.executor import LocalExecutor, Progress
    from arena.inprocess import InProcessExecutor
    from arena.study import Study
    from arena.task_study import TaskStudy


def make(study: Study, progress: Progress, tasks: Sequence[TaskStudy]) -> LocalExecutor | InProcessExecutor:
    from arena.executor import LocalExecutor
    from arena.inprocess import InProcessExecutor, trains
    from arena.lease import processes

    count = processes(study.config)
    if trains(tasks):
        return LocalExecutor(study.folder, count, progress, study.locks)
    return InProcessExecutor(study, progress, tasks, repositories=True)
