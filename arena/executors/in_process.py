"""In this process, one job after the other: for simulated tasks only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from arena.executor import Progress
    from arena.inprocess import InProcessExecutor
    from arena.study import Study
    from arena.task_study import TaskStudy


def make(study: Study, progress: Progress, tasks: Sequence[TaskStudy]) -> InProcessExecutor:
    from arena.inprocess import InProcessExecutor

    return InProcessExecutor(study, progress, tasks, repositories=True)
