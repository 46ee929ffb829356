"""RayExecutor: runs a study's jobs on the nodes of a Ray cluster; folder, lock and ledger stay here.

Each run has an actor with the devices of a run, and the actor has one worker (arena/cluster/actor.py). Ray places the
actors, reports those that died, and places new ones when a node joins. The driver requests an actor's next messages by
a call that returns when there are some; the next call carries the answer. So an event is written here before its worker
continues, and messages of a worker that was given up are never read.
"""

from __future__ import annotations

import json
import secrets
import shutil
import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter

from analysis.ledger import Ledger
from analysis.ledger.run_state import RunState
from arena.cluster.actor import Split, WorkerActor, node_path, parcel_of, sweep
from arena.cluster.connect import connect, devices_of_nodes, needs
from arena.cluster.files import Files, run_files, write_files
from arena.study.settings import StudyConfig
from arena.work.executor import Progress, StopRequest, rebuild
from arena.work.jobs import ErrorRecord, Job, JobResult, MeasureJob, RunJob, WorkerMessage, to_json
from arena.work.worker import shown
from inner_loop.events import Event, Experiment, read_event
from programs.common.errors import EnvironmentProblem

if TYPE_CHECKING:
    from ray import ObjectRef

LOOK_SECONDS = 0.3  # between two checks of the stop request, the nodes and the cluster
NO_NODE_SECONDS = 60.0  # how long to wait for a node when none is left
MOST_DEATHS = 5  # of workers and nodes during one job, or in a row before their first job
END_SECONDS = 10.0  # for workers to stop in good order
SWEEP_SECONDS = 60.0  # for a node to delete what they left; on a busy one, Ray starts a process for it in some seconds
ONCE = ("run_started", "run_ended")  # each worker of a job sends them
SYNCED = ("experiment", "run_ended", "call")
MESSAGE = TypeAdapter(WorkerMessage)


class Slot:
    """The driver's state of an actor. ``job``: in hand; ``result``: while its run's folder is fetched; ``call``: in
    progress; ``node``: Ray's id of its node, empty before it is placed; ``name``: for people."""

    def __init__(self, actor: Any, index: int) -> None:
        self.actor, self.index = actor, index
        self.job: Job | None = None
        self.result: JobResult | None = None
        self.call: ObjectRef[Any] | None = None
        self.node, self.name, self.ready = "", f"worker {index}", False


class JobRecord:
    """What the ledger has of a job in progress, so that no event is written twice."""

    def __init__(self, job: Job) -> None:
        self.job_id, self.run = job.job_id, RunState()
        self._once: set[str] = set()
        for event in job.recorded if isinstance(job, RunJob) else ():
            self.run.take(event)

    def take(self, message: Any) -> Event | None:
        """The event to write; None if it was written before. Raises ValueError for one of another job."""
        event = read_event(message)
        if event is None or getattr(event, "run_id", None) not in (self.job_id, None):
            raise ValueError(f"an event {message.get('kind')!r} that is not of {self.job_id}")
        if isinstance(event, Experiment):
            if event.experiment_id in self.run.experiments:
                return None
        elif event.kind in ONCE and getattr(event, "state", "finished") == "finished":
            if event.kind in self._once:
                return None
            self._once.add(event.kind)
        self.run.take(event)
        return event


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
        self._parcel = ray.put(parcel_of(self.config, folder, self._session))
        self._nodes: set[str] = set()  # that had a worker
        self._used: set[Split] = set()  # labelled hidden splits of the jobs that ended
        self.slots: list[Slot] = []
        self.waiting: deque[Job] = deque()  # for a slot
        self._started = 0
        self._records: dict[str, JobRecord] = {}
        self._deaths: Counter[str] = Counter()  # job_id, or "" before a worker's first job → workers that died
        self._refused: dict[str, str] = {}  # node → why it is not used
        self._capacity, self._worked = 0, False
        self._looked, self._alone_since = float("-inf"), time.monotonic()

    def __enter__(self) -> RayExecutor:
        return self

    def __exit__(self, failure: type[BaseException] | None, *_: object) -> None:
        self.close(at_once=failure is not None)

    def run(self, jobs: Iterable[Job]) -> Iterator[JobResult]:
        coming = iter(jobs)
        self.waiting.clear()
        while True:
            self._look()
            stopping = self.stop.is_made()
            if not stopping:
                self._hand_out(coming)
            if not any(slot.job for slot in self.slots) and (stopping or not self.waiting):
                self._discard()
                return
            yield from self._listen()

    # -- nodes and slots -----------------------------------------------------------------------------------------

    def capacity(self) -> int:
        """How many jobs the nodes have devices for now; at least 1, because one may join. Raises as `run` does."""
        self._look()
        return max(self._capacity, 1)

    def _look(self) -> None:
        """Count the runs that the cluster has devices for. Raises EnvironmentProblem where it has none for long."""
        if time.monotonic() - self._looked < LOOK_SECONDS or not self.cluster.check():
            return
        self._looked = time.monotonic()
        devices = devices_of_nodes(self.resource)
        self._capacity = sum(count // self.devices for node, count in devices.items() if node not in self._refused)
        if self._capacity:
            self._alone_since = self._looked
        elif self._refused and not self._worked:
            why = next(iter(self._refused.values()))
            raise EnvironmentProblem(f"no usable node in the Ray cluster: {why}", hint="docs/cluster.md")
        elif self._looked - self._alone_since > NO_NODE_SECONDS:
            raise EnvironmentProblem(
                f"no node in the Ray cluster at {self.cluster.address} has {self.devices} {self.resource} for a run",
                hint="finished runs are kept: run the same command again once there is one",
            )

    def _hand_out(self, coming: Iterator[Job]) -> None:
        """Take as many jobs as there are devices for, start slots for them, and give them to those that are ready."""
        busy = sum(slot.job is not None for slot in self.slots)
        while busy + len(self.waiting) < max(self._capacity, 1) and (job := next(coming, None)) is not None:
            self.waiting.append(job)
        while len(self.slots) < min(self._capacity, busy + len(self.waiting)):
            self._start()
        for slot in self.slots:
            if slot.ready and slot.job is None and self.waiting:
                self._hand_over(slot, self.waiting.popleft())

    def _start(self) -> None:
        """Request an actor; it waits in Ray until a node has the devices."""
        import ray

        unused = {"ray.io/node-id": f"!in({','.join(self._refused)})"} if self._refused else None
        remote = ray.remote(max_restarts=0, max_task_retries=0, scheduling_strategy="SPREAD")(WorkerActor)
        actor: Any = remote.options(**needs(self.resource, self.devices), label_selector=unused).remote()
        slot = Slot(actor, self._started)
        self._started += 1
        slot.call = actor.begin.remote(self._parcel, slot.index)
        self.slots.append(slot)

    def _hand_over(self, slot: Slot, job: Job) -> None:
        slot.job = job
        record = self._records.setdefault(job.job_id, JobRecord(job))
        files: Files = ()
        if isinstance(job, RunJob):
            job = replace(job, recorded=record.run.recorded)
            folder = self.folder / "runs" / job.run_id
            files = run_files(folder) if job.recorded and folder.is_dir() else ()
        slot.call = slot.actor.talk.remote(json.dumps(to_json(job)).encode(), job.job_id, files)

    # -- messages ------------------------------------------------------------------------------------------------

    def _listen(self) -> Iterator[JobResult]:
        """Wait for calls to return, and handle their results."""
        import ray

        calls = {slot.call: slot for slot in self.slots if slot.call is not None}
        if not calls:
            time.sleep(LOOK_SECONDS)
            return
        returned, rest = ray.wait(list(calls), num_returns=1, timeout=LOOK_SECONDS)
        if returned and rest:
            returned += ray.wait(rest, num_returns=len(rest), timeout=0)[0]
        for call in returned:
            slot = calls[call]
            slot.call = None
            try:
                result = self._handle(slot, ray.get(call))
            except (ray.exceptions.RayError, ValueError) as error:
                why = " ".join(str(error).split())[:200] or type(error).__name__
                if getattr(error, "actor_init_failed", False):  # it cannot import this package
                    hint = "every node needs the same Metaloop, see docs/cluster.md"
                    raise EnvironmentProblem(f"no worker can start on a node: {why}", hint=hint) from None
                self._lose(slot, why)
                continue
            if result is not None:
                yield result

    def _handle(self, slot: Slot, answer: Any) -> JobResult | None:
        """Handle what a call returned: `begin` the node, `talk` lines or an exit status, `fetch` the run's folder."""
        if not slot.node:
            slot.node, host = answer
            self._nodes.add(slot.node)
            slot.name = f"node {slot.node[:6]} ({host})"
            slot.call = slot.actor.talk.remote(None)
        elif slot.result is not None:
            run_folder = self.folder / "runs" / slot.result.job_id
            shutil.rmtree(run_folder, ignore_errors=True)
            write_files(answer, run_folder)
            return self._finish(slot, slot.result)
        elif isinstance(answer, str):
            self._lose(slot, answer)
        else:
            return self._read(slot, [MESSAGE.validate_json(line) for line in answer])
        return None

    def _read(self, slot: Slot, messages: list[WorkerMessage]) -> JobResult | None:
        for message in messages:
            if "error" in message:
                self._fail(slot, message["error"])
                return None
            if "ready" in message:
                slot.ready = self._worked = True
            if slot.job is None:
                return None
            if "event" in message:
                self._write(self._records[slot.job.job_id].take(message["event"]))
            if "result" in message:
                return self._end(slot, slot.job, JobResult.from_json(message["result"]))
        waits = any(message.get("wait") for message in messages)
        answer = json.dumps({"stop": self.stop.is_made()}).encode() if waits else None
        slot.call = slot.actor.talk.remote(answer)
        return None

    def _write(self, event: Event | None) -> None:
        if event is None:
            return
        self.ledger.append(event.to_record(), sync=event.kind in SYNCED)
        if (line := shown(event)) is not None:
            self.progress(line)

    def _end(self, slot: Slot, job: Job, result: JobResult) -> JobResult | None:
        """Finish a job; a run is finished once its folder has arrived."""
        if result.job_id != job.job_id:
            raise ValueError(f"a result of {result.job_id!r} during {job.job_id}")
        if not isinstance(job, RunJob):
            return self._finish(slot, result)
        slot.result = result
        slot.call = slot.actor.fetch.remote(job.run_id)
        return None

    def _finish(self, slot: Slot, result: JobResult) -> JobResult:
        if isinstance(slot.job, MeasureJob) and slot.job.split:
            self._used.add((slot.job.task, slot.job.stream, slot.job.split))
        slot.job = slot.result = None
        del self._records[result.job_id]
        return replace(result, worker=slot.index)

    def _discard(self) -> None:
        """Delete the labelled splits from the nodes. Not job by job: workers of a node may share a split."""
        for slot in {slot.node: slot for slot in self.slots if slot.ready and self._used}.values():
            slot.actor.discard.remote(sorted(self._used))
        self._used.clear()

    # -- deaths --------------------------------------------------------------------------------------------------

    def _fail(self, slot: Slot, error: ErrorRecord) -> None:
        """A worker reported a fatal error: before its first job the node is not used, else the command ends."""
        if slot.ready:
            raise rebuild(error, f"{slot.name}: ")
        if slot.node not in self._refused:
            self._refused[slot.node] = f"{slot.name} is not used: {error['message']}"
            self._note(self._refused[slot.node])
        self._looked = float("-inf")
        self._drop([slot])

    def _lose(self, slot: Slot, why: str) -> None:
        """Drop an actor or a worker that died; another one continues its job from the last experiment written."""
        import ray

        self.slots.remove(slot)
        ray.kill(slot.actor)
        job_id = slot.job.job_id if slot.job else ""
        self._deaths[job_id] += 1
        # while a node dies unnoticed, workers that start on it die with it
        if self._deaths[job_id] > MOST_DEATHS and not (slot.job is None and self._worked):
            raise EnvironmentProblem(
                f"{job_id or 'start'}: {self._deaths[job_id]} workers died; the last was {slot.name}, {why}",
                hint="the same command resumes; metaloop doctor on that machine tests its sandbox",
            )
        if slot.job is not None:
            self.waiting.appendleft(slot.job)
            self._note(f"{slot.name} died; {job_id} continues on another worker ({why})")

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
            broom = ray.remote(num_cpus=0, max_retries=0)(sweep)
            swept = {
                broom.options(label_selector={"ray.io/node-id": node}).remote(self._session, node): node
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
