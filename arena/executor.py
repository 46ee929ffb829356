"""Executors: submit jobs, receive results as they end. Here: worker processes on this machine."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO, Protocol, Self, cast

from pydantic import JsonValue

from analysis.ledger.run_state import StudyState
from arena.jobs import ErrorRecord, Job, JobResult, RunJob, WorkerMessage, to_json
from arena.scheduler import Node, Patience, Scheduler, Want
from programs.errors import EnvironmentProblem, MetaloopError

Progress = Callable[[Mapping[str, JsonValue]], None]
MOST_DEATHS = 3
LOOK_SECONDS = 0.3  # between two looks for a stop request
HERE = "here"  # the one node of this machine


class Executor(Protocol):
    """Carries out jobs somewhere. A job that is lost with its worker is carried out again."""

    def run(self, jobs: Iterable[Job]) -> Iterator[JobResult]:
        """Yield one result a job, in the order in which they end. Raises what a worker could not get over.

        The next job is taken from ``jobs`` when there is a worker for it, so that who gives them may decide then.
        """
        ...

    def close(self) -> None: ...


class ClosingExecutor(Executor, Protocol):
    """What an executor's ``make(study, progress)`` returns: it is closed at the end of a ``with`` block."""

    def __enter__(self) -> Self: ...

    def __exit__(self, failure: type[BaseException] | None, *_: object) -> None: ...


def want_of(job: Job) -> Want:
    """What a job needs of a scheduler."""
    return Want(job.job_id)


class WorkerProcess:
    """One ``python -m arena.worker``, and the ticket of the job that it has in hand."""

    def __init__(self, folder: Path, index: int, inherited: Sequence[int] = ()) -> None:
        (folder / "log").mkdir(exist_ok=True)
        self.index = index
        self.ticket: int | None = None
        with open(folder / "log" / f"worker-{index}.log", "ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", "arena.worker", str(folder), str(index), str(os.getpid())],
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
        try:
            self.stdin.write((json.dumps(to_json(job)) + "\n").encode())
            self.stdin.flush()
        except BrokenPipeError:
            pass  # its end is noticed when its pipe is read

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

    They are one node with as many devices. With the descriptor of the study's lock among ``inherited``, the lock is
    free only when they have ended, too: a killed study is not continued while a worker still writes to its ledger.
    """

    def __init__(self, folder: Path, workers: int, progress: Progress, inherited: Sequence[int] = ()) -> None:
        self.folder = folder
        self.inherited = inherited
        self.progress = progress
        self.said_draining = False
        self.scheduler: Scheduler[Job] = Scheduler(want_of, Patience(in_all=MOST_DEATHS))
        self.scheduler.join(Node(HERE, "", workers))
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
        self.scheduler.forget_waiting()
        while True:
            self._tell_draining()
            self._hand_out(coming)
            if not self.scheduler.in_flight:
                return
            for key, _ in self.selector.select(timeout=LOOK_SECONDS):
                worker = key.data
                messages = worker.receive()
                if messages is None:
                    self._bury(worker)
                for message in messages or ():
                    result = self._receive(worker, message)
                    if result is not None:
                        yield result

    def _hand_out(self, coming: Iterator[Job]) -> None:
        self.scheduler.draining = self.draining
        while (placed := self.scheduler.next_placement(coming)) is not None:
            worker = self.workers[placed.devices[0]]
            worker.ticket = placed.ticket
            worker.send(self._with_its_past(placed.job) if placed.attempt else placed.job)
            self.scheduler.draining = self.draining

    def _tell_draining(self) -> None:
        if self.draining and not self.said_draining:
            self.said_draining = True
            self.progress(
                {"kind": "note", "text": "stopping: experiments in flight end first (Ctrl-C twice kills them)"}
            )

    @property
    def draining(self) -> bool:
        return (self.folder / "stop").exists()

    def _receive(self, worker: WorkerProcess, message: WorkerMessage) -> JobResult | None:
        if "progress" in message:
            self.progress(message["progress"])
        if "error" in message:
            raise rebuild(message["error"], f"worker {worker.index}: ")
        if "result" not in message:
            return None
        result = JobResult.from_json(message["result"])
        ticket, worker.ticket = worker.ticket, None
        counts = ticket is not None and self.scheduler.result(ticket, whole=result.state == "finished")
        return result if counts else None

    def _bury(self, worker: WorkerProcess) -> None:
        """Replace a worker that ended without a word; the job that it had in hand, if any, is carried out again."""
        self.selector.unregister(worker.stdout)
        worker.close()
        self.scheduler.died(worker.ticket)
        if self.scheduler.hopeless:
            ends = f"{self.scheduler.deaths} such ends in all"
            raise EnvironmentProblem(
                f"worker {worker.index} ended with status {worker.process.returncode}, {ends}",
                hint=f"see {self.folder}/log/worker-{worker.index}.log; the same command resumes",
            )
        self.progress({"kind": "note", "text": f"worker {worker.index} died; its run goes on from its last experiment"})
        self._start(worker.index)

    def _with_its_past(self, job: Job) -> Job:
        """The job with what the dead worker had already written down of it, which is not done again."""
        if not isinstance(job, RunJob):
            return job
        return replace(job, recorded=StudyState.read(self.folder / "ledger").run(job.run_id).recorded)

    def close(self) -> None:
        for worker in self.workers.values():
            worker.close()
        self.selector.close()


def rebuild(error: ErrorRecord, before: str = "") -> MetaloopError:
    """The exception that a worker met, with its kind and hint; ``before``: whose it was."""
    kinds: dict[str, type[MetaloopError]] = {kind.kind: kind for kind in reversed(family(MetaloopError))}
    return kinds.get(error["kind"], MetaloopError)(f"{before}{error['message']}", hint=error["hint"])


def family(cls: type[MetaloopError]) -> list[type[MetaloopError]]:
    """``cls`` and all that derive from it, the most general first."""
    return [cls, *(deeper for sub in cls.__subclasses__() for deeper in family(sub))]
