"""On this machine: worker processes where anything trains, this process where a law tells."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from arena.executor import LocalExecutor, Progress
    from arena.inprocess import InProcessExecutor
    from arena.study import Study


def make(study: Study, progress: Progress) -> LocalExecutor | InProcessExecutor:
    from arena.executor import LocalExecutor
    from arena.inprocess import InProcessExecutor, trains
    from arena.lease import processes

    count = processes(study.config)
    if trains(study):
        return LocalExecutor(study.folder, count, progress)
    return InProcessExecutor(study, progress, repositories=True)
