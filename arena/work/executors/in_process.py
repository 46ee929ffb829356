"""In this process, one job after the other: for simulated tasks only, whose experiments take microseconds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from arena.study.settings import StudyConfig
from arena.study.task_study import TaskStudy, tasks_of
from arena.work.executor import Progress
from arena.work.jobs import Job, JobResult, WorkerMessage
from arena.work.sandbox import runs_code
from arena.work.trainers import Trainers
from arena.work.worker import Worker
from programs.common.closing import Closing
from programs.common.errors import UsageError

if TYPE_CHECKING:
    from arena.study.study import Study


def make(study: Study, progress: Progress, tasks: Sequence[TaskStudy]) -> InProcessExecutor:
    return InProcessExecutor(study, progress, tasks, repositories=True)


class InProcessExecutor(Closing):
    """The worker's own code without a process, a pipe or a cache; the ledger is the same, synced less often.

    For simulated tasks only: training belongs into processes that can be killed. Raises UsageError for another.
    ``repositories``: whether each run leaves its git repository, from which a source is taken to be measured again.
    """

    def __init__(
        self, study: Study, progress: Progress, tasks: Sequence[TaskStudy] = (), *, repositories: bool = False
    ) -> None:
        if trains(tasks or tasks_of(study)):
            raise UsageError(f"{study.task.name} trains for real", hint="use METALOOP_EXECUTOR=local")
        self._progress = progress
        trainers = Trainers(study.folder, StudyConfig.read(study.folder / "study.toml"), cached=False)
        self._worker = Worker(study.folder, 0, trainers, self._tell, repositories=repositories, sync_each=False)

    def run(self, jobs: Iterable[Job]) -> Iterator[JobResult]:
        for job in jobs:
            if self._worker.should_stop():
                return
            yield self._worker.carry_out(job)

    def close(self) -> None:
        self._worker.ledger.close()

    def _tell(self, message: WorkerMessage) -> None:
        if "progress" in message:
            self._progress(message["progress"])


def trains(tasks: Iterable[TaskStudy]) -> bool:
    """Whether an experiment runs code on any of the tasks."""
    return any(runs_code(each.task) for each in tasks)
