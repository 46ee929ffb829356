"""InProcessExecutor: jobs carried out here, one after the other, for tasks whose experiments take microseconds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from arena.choice import on_cluster
from arena.drain import drain_on_interrupt
from arena.executor import Executor, LocalExecutor, Progress
from arena.jobs import Job, JobResult
from arena.lease import processes
from arena.sandbox import runs_code
from arena.settings import StudyConfig
from arena.study import Study
from arena.task_study import TaskStudy, tasks_of
from arena.trainers import Trainers
from arena.worker import Worker
from programs.errors import UsageError

if TYPE_CHECKING:
    from arena.cluster.executor import RayExecutor


class InProcessExecutor:
    """The worker's own code without a process, a pipe or a cache; the ledger is the same, synced less often.

    For simulated tasks only: training belongs into processes that can be killed. Raises UsageError for another.
    ``repositories``: whether each run leaves its git repository, from which a source is taken to be measured again.
    """

    def __init__(self, study: Study, progress: Progress, *, repositories: bool = False) -> None:
        if trains(tasks_of(study)):
            raise UsageError(f"{study.task.name} trains for real", hint="use LocalExecutor")
        self._progress = progress
        trainers = Trainers(study.folder, StudyConfig.read(study.folder / "study.toml"), cached=False)
        self._worker = Worker(study.folder, 0, trainers, self._tell, repositories=repositories, sync_each=False)

    def __enter__(self) -> InProcessExecutor:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def run(self, jobs: Iterable[Job]) -> Iterator[JobResult]:
        for job in jobs:
            if self._worker.should_stop():
                return
            yield self._worker.carry_out(job)

    def close(self) -> None:
        self._worker.ledger.close()

    def _tell(self, message: Mapping[str, Any]) -> None:
        if "progress" in message:
            self._progress(message["progress"])


def executor_of(
    study: Study, progress: Progress, tasks: Sequence[TaskStudy] = ()
) -> LocalExecutor | InProcessExecutor | RayExecutor:
    """The executor of a study's jobs on ``tasks`` (default: all that its matches are played on).

    A cluster where the command says so, worker processes where anything trains, this process where all is simulated.
    """
    count = processes(study.config)  # refuses what a cluster cannot do, too
    if on_cluster():
        from arena.cluster.executor import RayExecutor

        return RayExecutor(study.folder, progress)
    if trains(tasks or tasks_of(study)):
        return LocalExecutor(study.folder, count, progress)
    return InProcessExecutor(study, progress, repositories=True)


def trains(tasks: Iterable[TaskStudy]) -> bool:
    """Whether an experiment runs code on any of the tasks."""
    return any(runs_code(each.task) for each in tasks)


@contextmanager
def at_work(study: Study, progress: Progress) -> Iterator[Executor]:
    """The study's lock and its executor, drained by Ctrl-C."""
    with study, drain_on_interrupt(study, progress), executor_of(study, progress) as executor:
        yield executor
