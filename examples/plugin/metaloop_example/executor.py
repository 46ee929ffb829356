"""Jobs on this machine, each written to `jobs.tsv` in the study's folder with the seconds since the one before."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from arena.study.study import Study
from arena.study.task_study import TaskStudy
from arena.work.choice import EXECUTORS
from arena.work.executor import ClosingExecutor, Progress
from arena.work.jobs import Job, JobResult


class Timed:
    def __init__(self, inner: ClosingExecutor, log: Path) -> None:
        self.inner, self.log = inner, log

    def __enter__(self) -> Timed:
        self.inner.__enter__()
        return self

    def __exit__(self, failure: type[BaseException] | None, *more: object) -> None:
        self.inner.__exit__(failure, *more)

    def run(self, jobs: Iterable[Job]) -> Iterator[JobResult]:
        before = time.monotonic()
        for result in self.inner.run(jobs):
            now = time.monotonic()
            with self.log.open("a", encoding="utf-8") as log:
                log.write(f"{result.job_id}\t{result.state}\t{now - before:.3f}\n")
            before = now
            yield result

    def close(self) -> None:
        self.inner.close()


def make(study: Study, progress: Progress, tasks: Sequence[TaskStudy]) -> Timed:
    return Timed(EXECUTORS.get("local")(study, progress, tasks), study.folder / "jobs.tsv")
