"""On this machine: worker processes where anything trains, this process for simulated tasks."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import subprocess
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, cast

from analysis.ledger.run_state import StudyState
from arena.work.executor import Progress, StopRequest, rebuild
from arena.work.executors.in_process import InProcessExecutor, trains
from arena.work.jobs import Job, JobResult, RunJob, WorkerMessage, to_json
from programs.common.errors import EnvironmentProblem

if TYPE_CHECKING:
    from arena.study.study import Study
    from arena.study.task_study import TaskStudy

MOST_DEATHS = 3  # of workers, in all
LOOK_SECONDS = 0.3  # between two looks for a stop request


def make(study: Study, progress: Progress, tasks: Sequence[TaskStudy]) -> LocalExecutor | InProcessExecutor:
    from arena.work.lease import processes

    if trains(tasks):
        return LocalExecutor(study.folder, processes(study.config), progress, study.locks)
    return InProcessExecutor(study, progress, tasks, repositories=True)


class WorkerProcess:
    """One ``python -m arena.work.worker``, and the job that it has in hand. ``spending``: see there."""

    def __init__(self, folder: Path, index: int, inherited: Sequence[int] = (), spending: str = "") -> None:
        (folder / "log").mkdir(exist_ok=True)
        self.index = index
        self.job: Job | None = None
        with open(folder / "log" / f"worker-{index}.log", "ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", "arena.work.worker", str(folder), str(index), str(os.getpid()), spending],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
                pass_fds=inherited,
            )
        self.stdin = cast(IO[bytes], self.process.stdin)
        self.stdout = cast(IO[bytes], self.process.stdout)
        self._begun = b""

    def send(self, job: Job) -> None:
        self.job = job
        with contextlib.suppress(BrokenPipeError):  # its end is noticed when its pipe is read
            self.stdin.write((json.dumps(to_json(job)) + "\n").encode())
            self.stdin.flush()

    def receive(self) -> list[WorkerMessage] | None:
        """Every message that has arrived whole, once its pipe is ready; None at the pipe's end.

        Not by readline: what it reads ahead stays in its buffer, where no selector sees it.
        """
        data = os.read(self.stdout.fileno(), 1 << 16)
        *lines, self._begun = (self._begun + data).split(b"\n")
        return [json.loads(line) for line in lines] if data else None

    def close(self) -> None:
        for pipe in (self.stdin, self.stdout):
            with contextlib.suppress(BrokenPipeError):
                pipe.close()
        try:
            self.process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class LocalExecutor:
    """``workers`` processes on this machine, one run each at a time; a dead one is replaced and its job repeated.

    With the descriptor of the study's lock among ``inherited``, the lock is free only when the workers have ended, too:
    a killed study is not continued while a worker still writes to its ledger.
    """

    def __init__(self, folder: Path, workers: int, progress: Progress, inherited: Sequence[int] = ()) -> None:
        self.folder, self.progress, self.inherited = folder, progress, inherited
        self.stop = StopRequest(folder, progress)
        self.deaths = 0
        self.lost: deque[Job] = deque()  # jobs of dead workers
        self.selector = selectors.DefaultSelector()
        self.workers: dict[int, WorkerProcess] = {}
        for index in range(workers):
            self._start(index)

    def __enter__(self) -> LocalExecutor:
        return self

    def __exit__(self, failure: type[BaseException] | None, *_: object) -> None:
        if failure is not None:  # no one will read their results any more
            for worker in self.workers.values():
                worker.process.kill()
        self.close()

    def _start(self, index: int) -> None:
        worker = WorkerProcess(self.folder, index, self.inherited)
        self.workers[index] = worker
        self.selector.register(worker.stdout, selectors.EVENT_READ, worker)

    def run(self, jobs: Iterable[Job]) -> Iterator[JobResult]:
        coming = iter(jobs)
        self.lost.clear()
        while True:
            self._hand_out(coming)
            if all(worker.job is None for worker in self.workers.values()):
                return
            for key, _ in self.selector.select(timeout=LOOK_SECONDS):
                worker = key.data
                messages = worker.receive()
                if messages is None:
                    self._replace(worker)
                for message in messages or ():
                    result = self._receive(worker, message)
                    if result is not None:
                        yield result

    def _hand_out(self, coming: Iterator[Job]) -> None:
        """Give each free worker a lost job, or else the next one, until a stop is requested."""
        for _, worker in sorted(self.workers.items()):
            if self.stop.is_made():
                return
            if worker.job is None:
                job = self.lost.popleft() if self.lost else next(coming, None)
                if job is None:
                    return
                worker.send(job)

    def _receive(self, worker: WorkerProcess, message: WorkerMessage) -> JobResult | None:
        if "progress" in message:
            self.progress(message["progress"])
        if "error" in message:
            raise rebuild(message["error"], f"worker {worker.index}: ")
        if "result" not in message:
            return None
        worker.job = None
        return JobResult.from_json(message["result"])

    def _replace(self, dead: WorkerProcess) -> None:
        """Start a worker in place of one that ended without a word; the job that it had in hand is carried out again,
        without the experiments that it wrote to the ledger."""
        self.selector.unregister(dead.stdout)
        dead.close()
        self.deaths += 1
        if self.deaths > MOST_DEATHS:
            ends = f"{self.deaths} such ends in all"
            raise EnvironmentProblem(
                f"worker {dead.index} ended with status {dead.process.returncode}, {ends}",
                hint=f"see {self.folder}/log/worker-{dead.index}.log; the same command resumes",
            )
        if isinstance(job := dead.job, RunJob):
            job = replace(job, recorded=StudyState.read(self.folder / "ledger").run(job.run_id).recorded)
        if job is not None:
            self.lost.appendleft(job)
        text = f"worker {dead.index} died; its run goes on from its last experiment"
        self.progress({"kind": "note", "text": text})
        self._start(dead.index)

    def close(self) -> None:
        for worker in self.workers.values():
            worker.close()
        self.selector.close()
