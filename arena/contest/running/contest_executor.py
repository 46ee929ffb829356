"""Carries out the jobs of a contest, and keeps account of its runs while they go on."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator

from arena.contest.entering.entries import change
from arena.contest.running import pace
from arena.contest.running.contest_queue import ContestQueue, forget_experiments
from arena.work.executor import Executor, rebuild
from arena.work.jobs import ErrorRecord, Job, JobResult, RunJob


class ContestExecutor:
    """An executor whose runs the pages show while they go on. A run that a problem ended is not handed on: it stays in
    progress, no further job starts, and the problem is raised once the other runs have ended."""

    def __init__(self, executor: Executor, queue: ContestQueue) -> None:
        self.executor, self.queue = executor, queue
        self.problem: ErrorRecord | None = None

    def run(self, jobs: Iterable[Job]) -> Iterator[JobResult]:
        queue = self.queue
        for result in self.executor.run(_StartedJobs(self, iter(jobs))):
            if result.problem is not None:
                self.problem = self.problem or result.problem
                continue
            yield result
            run = queue.in_progress.pop(result.job_id, None)
            if run is None:  # a training, not a run
                continue
            queue.show_runs()
            queue.record_acts()
            if result.state != "finished":
                continue
            queue.pause.over()
            if run.is_suspect:
                change(queue.contest, run.number, attempts=0)
            if not run.is_screening:
                pace.record_run_time(queue.contest, time.monotonic() - run.began)
            queue.study.follow()
            forget_experiments(queue.study.state.runs[result.job_id])
        if self.problem is not None:
            raise rebuild(self.problem)

    def close(self) -> None:
        self.executor.close()


class _StartedJobs(Iterator[Job]):
    """The jobs as workers take them; not a generator, which could not go on after its end."""

    def __init__(self, executor: ContestExecutor, jobs: Iterator[Job]) -> None:
        self.executor, self.jobs = executor, jobs

    def __next__(self) -> Job:
        if self.executor.problem is not None:
            raise StopIteration
        job = next(self.jobs)
        while isinstance(job, RunJob) and not self.executor.queue.start(job):
            job = next(self.jobs)
        return job
