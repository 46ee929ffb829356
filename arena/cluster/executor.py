"""RayExecutor: runs a study's jobs on the nodes of a Ray cluster; folder, lock and ledger stay here.

Each run has an actor with the devices of a run, and the actor has one ordinary worker (arena/cluster/actor.py). Ray
places the actors and reports those that died. A job comes back as a whole, its events and the run's folder; one whose
worker or node died begins again on another.
"""

from __future__ import annotations

import secrets
import shutil
import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import JsonValue, ValidationError

from analysis.ledger import Ledger
from analysis.ledger.json_values import first_fault
from arena.cluster.actor import CarriedOut, Split, WorkerActor, node_path, parts_of, sweep
from arena.cluster.connect import connect, devices_of_nodes, needs
from arena.cluster.files import Files, run_files, write_files
from arena.study.settings import StudyConfig
from arena.work.executor import Progress, StopRequest, rebuild
from arena.work.jobs import Job, JobResult, MeasureJob, RunJob
from arena.work.worker import shown
from inner_loop.events import Event, read_event
from programs.common.errors import EnvironmentProblem

if TYPE_CHECKING:
    from ray import ObjectRef

LOOK_SECONDS = 0.3  # between two checks of the stop request, the nodes and the cluster
NO_NODE_SECONDS = 60.0  # how long to wait for a node when none is left
MOST_DEATHS = 5  # of workers and nodes during one job, or in a row before their first job
END_SECONDS = 10.0  # for workers to stop in good order
SWEEP_SECONDS = 60.0  # for a node to delete what they left; on a busy one, Ray starts a process for it in some seconds


class Slot:
    """The driver's state of an actor: its job, the call in progress, and its node, None before Ray has placed it."""

    def __init__(self, actor: Any, index: int) -> None:
        self.actor, self.index, self.name = actor, index, f"worker {index}"
        self.job: Job | None = None
        self.node: str | None = None
        self.call: ObjectRef[Any] | None = actor.begin.remote()


def events_of(job: Job, records: Iterable[Mapping[str, JsonValue]], sender: str) -> list[Event]:
    """The events of a job. Raises EnvironmentProblem for one of another job, or without its fields."""
    try:
        events = [read_event(record) for record in records]
    except ValidationError as error:
        raise EnvironmentProblem(f"{sender} sent an event that is none: {first_fault(error)}") from None
    if any(event is None or getattr(event, "run_id", None) not in (job.job_id, None) for event in events):
        raise EnvironmentProblem(f"{sender} sent an event that is not of {job.job_id}")
    return [event for event in events if event is not None]


class RayExecutor:
    """Runs jobs on all nodes of the study's hardware class. Nodes may join and leave meanwhile."""

    def __init__(self, folder: Path, progress: Progress) -> None:
        self.config = StudyConfig.read(folder / "study.toml")
        self.folder, self.progress = folder, progress
        self.devices = self.config.devices  # of one run
        self.resource = "GPU" if self.config.hardware_class.startswith("gpu:") else "CPU"
        self.cluster = connect(self.config.workers * self.devices)
        self.stop = StopRequest(folder, progress)
        self.ledger = Ledger(folder / "ledger", "cluster")
        import ray  # after `connect` has made its settings

        self._session = secrets.token_hex(8)
        self._parts = ray.put(parts_of(self.config, folder, self._session))
        self.slots: list[Slot] = []
        self.waiting: deque[Job] = deque()  # for a slot
        self._started = 0
        self._nodes: set[str] = set()  # that had a worker
        self._refused: dict[str, str] = {}  # node → why it is not used
        self._deaths: Counter[str] = Counter()  # job_id, or "" before a worker's first job → workers that died
        self._used: set[Split] = set()  # labelled hidden splits of the jobs that ended
        self._stopping = False
        self._capacity, self._node_seen = 0, time.monotonic()

    def __enter__(self) -> RayExecutor:
        return self

    def __exit__(self, failure: type[BaseException] | None, *_: object) -> None:
        self.close(at_once=failure is not None)

    def run(self, jobs: Iterable[Job]) -> Iterator[JobResult]:
        coming = iter(jobs)
        self.waiting.clear()
        while True:
            self._count_devices()
            if not self._stops():
                self._hand_out(coming)
            if not any(slot.job for slot in self.slots) and (self._stopping or not self.waiting):
                self._discard()
                return
            yield from self._returned()

    def capacity(self) -> int:
        """How many jobs the nodes have devices for now; at least 1, because one may join. Raises as `run` does."""
        self._count_devices()
        return max(self._capacity, 1)

    def _stops(self) -> bool:
        """Whether a stop is requested; the workers get the request once."""
        if self.stop.is_made() and not self._stopping:
            self._stopping = True
            for slot in self.slots:
                slot.actor.stop.remote()
        return self._stopping

    def _count_devices(self) -> None:
        """Raises EnvironmentProblem where the cluster has no usable node, or none that is free for long."""
        if not self.cluster.check():
            return
        devices = devices_of_nodes(self.resource)
        self._capacity = sum(count // self.devices for node, count in devices.items() if node not in self._refused)
        if self._capacity:
            self._node_seen = time.monotonic()
        elif self._refused and not self._nodes:
            why = next(iter(self._refused.values()))
            raise EnvironmentProblem(f"no usable node in the Ray cluster: {why}", hint="docs/cluster.md")
        elif time.monotonic() - self._node_seen > NO_NODE_SECONDS:
            raise EnvironmentProblem(
                f"no node in the Ray cluster at {self.cluster.address} has {self.devices} {self.resource} for a run",
                hint="finished runs are kept: run the same command again once there is one",
            )

    def _hand_out(self, coming: Iterator[Job]) -> None:
        """Take as many jobs as there are devices for, request slots for them, and give them to those on a node."""
        busy = sum(slot.job is not None for slot in self.slots)
        while busy + len(self.waiting) < max(self._capacity, 1) and (job := next(coming, None)) is not None:
            self.waiting.append(job)
        while len(self.slots) < min(self._capacity, busy + len(self.waiting)):
            self._request_slot()
        for slot in self.slots:
            if slot.node is not None and slot.job is None and self.waiting:
                slot.job = self.waiting.popleft()
                folder = self.folder / "runs" / slot.job.job_id
                resumed = isinstance(slot.job, RunJob) and slot.job.recorded and folder.is_dir()
                slot.call = slot.actor.carry_out.remote(slot.job, run_files(folder) if resumed else ())

    def _request_slot(self) -> None:
        """Request an actor; it waits in Ray until a node has the devices."""
        import ray

        unused = {"ray.io/node-id": f"!in({','.join(self._refused)})"} if self._refused else None
        remote = ray.remote(max_restarts=0, scheduling_strategy="SPREAD")(WorkerActor)
        placed = remote.options(**needs(self.resource, self.devices), max_concurrency=2, label_selector=unused)
        self.slots.append(Slot(placed.remote(self._parts, self._started), self._started))
        self._started += 1

    def _returned(self) -> Iterator[JobResult]:
        """Wait for calls to return; yield the results of jobs."""
        import ray

        calls = {slot.call: slot for slot in self.slots if slot.call is not None}
        if not calls:
            time.sleep(LOOK_SECONDS)
            return
        for call in ray.wait(list(calls), num_returns=1, timeout=LOOK_SECONDS)[0]:
            slot = calls[call]
            slot.call = None
            try:
                answer = ray.get(call)
            except ray.exceptions.RayError as error:
                why = " ".join(str(error).split())[:200] or type(error).__name__
                if getattr(error, "actor_init_failed", False):  # it cannot import this package
                    hint = "every node needs the same Metaloop, see docs/cluster.md"
                    raise EnvironmentProblem(f"no worker can start on a node: {why}", hint=hint) from None
                self._lose(slot, why)
                continue
            if slot.job is None:
                self._placed(slot, *answer)
            elif isinstance(answer, str):
                self._lose(slot, answer)
            else:
                yield self._record(slot, slot.job, answer)

    def _placed(self, slot: Slot, node: str, host: str, error: Any) -> None:
        slot.name = f"node {node[:6]} ({host})"
        if error is None:
            slot.node = node
            self._nodes.add(node)
            return
        if node not in self._refused:
            self._refused[node] = f"{slot.name} is not used: {error['message']}"
            self._note(self._refused[node])
        self._drop([slot])

    def _record(self, slot: Slot, job: Job, done: CarriedOut) -> JobResult:
        """Write the events of a job to the ledger and the run's folder to the study. Raises what ended its worker."""
        events = events_of(job, done.events, slot.name)
        self.ledger.extend(done.events)
        for line in filter(None, map(shown, events)):
            self.progress(line)
        if done.error is not None:
            raise rebuild(done.error, f"{slot.name}: ")
        if isinstance(job, RunJob):
            self._put(done.files, job.run_id)
        elif isinstance(job, MeasureJob) and job.split:
            self._used.add((job.task, job.stream, job.split))
        slot.job = None
        return replace(JobResult.from_json(done.result), worker=slot.index)

    def _put(self, files: Files, run_id: str) -> None:
        shutil.rmtree(self.folder / "runs" / run_id, ignore_errors=True)
        write_files(files, self.folder / "runs" / run_id)

    def _lose(self, slot: Slot, why: str) -> None:
        """Drop an actor or a worker that died; another one begins its job again."""
        import ray

        self.slots.remove(slot)
        ray.kill(slot.actor)
        job_id = slot.job.job_id if slot.job else ""
        self._deaths[job_id] += 1
        # while a node dies unnoticed, workers that start on it die with it
        if self._deaths[job_id] > MOST_DEATHS and not (slot.job is None and self._nodes):
            raise EnvironmentProblem(
                f"{job_id or 'start'}: {self._deaths[job_id]} workers died; the last was {slot.name}, {why}",
                hint="the same command resumes; metaloop doctor on that machine tests its sandbox",
            )
        if slot.job is not None:
            self.waiting.appendleft(slot.job)
            self._note(f"{slot.name} died; {job_id} begins again on another worker ({why})")

    def _discard(self) -> None:
        """Delete the labelled splits from the nodes. Not job by job: workers of a node may share a split."""
        for slot in {slot.node: slot for slot in self.slots if slot.node and self._used}.values():
            slot.actor.discard.remote(sorted(self._used))
        self._used.clear()

    def _drop(self, slots: list[Slot]) -> None:
        """Stop these workers in good order, if they answer in time."""
        import ray

        ended = [slot.actor.end.remote() for slot in slots if slot.node]
        if ended:
            ray.wait(ended, num_returns=len(ended), timeout=END_SECONDS)
        for slot in slots:
            self.slots.remove(slot)
            ray.kill(slot.actor)

    def close(self, at_once: bool = False) -> None:
        """Stop the workers; ``at_once``: without waiting for those at work."""
        import ray

        try:
            if not self.cluster.check():
                return
            if not at_once:
                self._drop([slot for slot in self.slots if slot.job is None])
            for slot in self.slots:
                ray.kill(slot.actor)
            remote = ray.remote(num_cpus=0, max_retries=0)(sweep)
            swept = {
                remote.options(label_selector={"ray.io/node-id": node}).remote(self._session, node): node
                for node in self._nodes & devices_of_nodes(self.resource).keys()
            }
            left = ray.wait(list(swept), num_returns=len(swept), timeout=SWEEP_SECONDS)[1] if swept else []
            for node in (swept[call] for call in left):
                path = node_path(self._session, node)
                self._note(f"node {node[:6]} did not answer: delete {path} there, which has the study's secret")
        except (ray.exceptions.RayError, EnvironmentProblem):
            pass  # the cluster is gone, with everything on it
        finally:
            self.ledger.close()

    def _note(self, text: str) -> None:
        self.progress({"kind": "note", "text": text})
