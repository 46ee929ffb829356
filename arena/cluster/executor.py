"""RayExecutor: runs a study's jobs on the nodes of a Ray cluster; folder, lock and ledger stay here.

Each seat on a node (arena/cluster/seat.py) has ``devices`` devices and one worker. The driver requests a seat's next
message by a call that returns when there is one; the next call carries the answer. So an event is written here before
its worker continues, and messages of a worker that was given up are never read.
"""

from __future__ import annotations

import json
import secrets
import time
import weakref
from collections.abc import Iterable, Iterator, Sized
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from analysis.ledger import Ledger
from analysis.ledger.events import Event
from arena.cluster import runs
from arena.cluster.connect import Cluster, connect
from arena.cluster.nodes import Nodes, UsableNode, label, pinned
from arena.cluster.parcel import parcel_of
from arena.cluster.protocol import Malformed, TrackedJob, parse, result_of
from arena.cluster.seat import SeatActor, sweep
from arena.executor import MOST_DEATHS, Progress, rebuild
from arena.jobs import ErrorRecord, Job, JobResult, RunJob
from arena.scheduler import Lost, Node, Patience, Placement, Scheduler, Want
from arena.settings import StudyConfig
from arena.worker import shown
from programs.errors import EnvironmentProblem

if TYPE_CHECKING:
    from ray import ObjectRef

LOOK_SECONDS = 0.3  # between two checks of the stop request, the nodes and the cluster
NO_NODE_SECONDS = 60.0  # how long to wait for a node when none is left
NODE_DEATHS = 10  # node deaths during one job, which may not be its fault
END_SECONDS = 10.0  # for workers to stop in good order
SYNCED = ("experiment", "run_ended", "call")


class SeatHandle:
    """The driver's state of a seat: its actor, its current placement, the result waiting for the run's folder."""

    def __init__(self, actor: Any, node: str, index: int) -> None:
        self.actor, self.node, self.index = actor, node, index
        self.placed: Placement[Job] | None = None
        self.ready = False
        self.result: JobResult | None = None  # while its run's folder is fetched


_LIVE: weakref.WeakSet[RayExecutor] = weakref.WeakSet()


class RayExecutor:
    """Runs jobs on all nodes of the study's hardware class. Nodes may join and leave meanwhile."""

    def __init__(self, folder: Path, progress: Progress) -> None:
        config = StudyConfig.read(folder / "study.toml")
        self.folder, self.progress = folder, progress
        self.devices = config.devices  # of one run
        self.resource = "GPU" if config.hardware_class.startswith(("gpu:", "cuda:")) else "CPU"
        self.cluster: Cluster = connect(config.workers * self.devices)
        self.session = secrets.token_hex(16)
        self.nodes = Nodes(self.resource, config.hardware_class, self._note)
        self.scheduler: Scheduler[Job] = Scheduler(
            lambda job: Want(job.job_id, self.devices, config.hardware_class),
            Patience(MOST_DEATHS, NODE_DEATHS),
            spread=True,
        )
        self.ledger = Ledger(folder / "ledger", "cluster")
        self._stop_noted = False
        import ray  # after `connect` has made its settings

        self._parcel = ray.put(parcel_of(config, folder))
        self._seats: dict[tuple[str, int], SeatHandle] = {}
        self._calls: dict[ObjectRef[Any], SeatHandle] = {}
        self._doubted: dict[SeatHandle, float] = {}  # unreachable seats, and when to try them again
        self._jobs: dict[str, TrackedJob] = {}
        self._hosts: dict[str, str] = {}
        self._alone_since: float | None = None
        for other in _LIVE:  # idle workers of this process's other executors would occupy the devices
            other.rest()
        _LIVE.add(self)

    def __enter__(self) -> RayExecutor:
        return self

    def __exit__(self, failure: type[BaseException] | None, *_: object) -> None:
        self.close(at_once=failure is not None)

    # -- the loop ------------------------------------------------------------------------------------------------

    def run(self, jobs: Iterable[Job]) -> Iterator[JobResult]:
        if isinstance(jobs, Sized) and not len(jobs):
            return
        coming = iter(jobs)
        try:
            while True:
                self._look()
                while (placed := self.scheduler.next_placement(coming)) is not None:
                    self._seat(placed)
                if not self.scheduler.in_flight and self._is_over():
                    return
                yield from self._listen()
        finally:
            self.scheduler.forget_waiting()

    @property
    def draining(self) -> bool:
        return (self.folder / "stop").exists()

    def _look(self) -> None:
        """Check the stop request, the cluster and its nodes."""
        self.scheduler.draining = self.draining
        if self.draining and not self._stop_noted:
            self._stop_noted = True
            self._note("stopping after the experiments in progress (Ctrl-C twice kills them)")
        if self.cluster.check():
            self._take_in(*self.nodes.look())
        for seat in [seat for seat, when in self._doubted.items() if when < time.monotonic()]:
            del self._doubted[seat]
            self._calls[seat.actor.there.remote()] = seat

    def _take_in(self, joined: Iterable[UsableNode], gone: Iterable[str]) -> None:
        for name in gone:
            self._leave(name)
        for node in joined:
            width = node.devices - node.devices % self.devices
            if not width:
                self.nodes.refuse(node.name, f"it has {node.devices} {self.resource}, a run needs {self.devices}")
                continue
            self._hosts[node.name] = node.facts.host
            self.scheduler.join(Node(node.name, node.facts.hardware, width))
            self._alone_since = None

    def _is_over(self) -> bool:
        """Whether no more jobs will come, if none is in progress. Raises EnvironmentProblem if no node is left."""
        if self.scheduler.draining or (self.scheduler.nodes and not self.scheduler.waiting):
            return True
        if self.scheduler.nodes or self.nodes.has_pending:
            return False
        if self.nodes.refused and self._alone_since is None and not self._hosts:
            why = next(iter(self.nodes.refused.values()))
            raise EnvironmentProblem(f"no usable node in the Ray cluster: {why}", hint="docs/cluster.md")
        if self._alone_since is None:
            self._alone_since = time.monotonic()
            self._note(f"no usable node is left; waiting {NO_NODE_SECONDS:.0f} s for one")
        if time.monotonic() - self._alone_since > NO_NODE_SECONDS:
            raise EnvironmentProblem(
                f"no usable node is left in the Ray cluster at {self.cluster.address}",
                hint="finished runs are kept: run the same command again once there is one",
            )
        return False

    # -- seats ---------------------------------------------------------------------------------------------------

    def _seat(self, placed: Placement[Job]) -> None:
        """Give a job to the seat on its devices, which is created if necessary."""
        import ray

        key = placed.node, placed.devices[0] // self.devices
        seat = self._seats.get(key)
        if seat is None:
            width: dict[str, Any] = {"num_cpus": self.devices}
            if self.resource == "GPU":
                width = {"num_gpus": self.devices, "num_cpus": 0}
            remote = ray.remote(max_restarts=0, max_task_retries=0, **width)(SeatActor)
            there = remote.options(scheduling_strategy=pinned(placed.node))
            actor = there.remote(self._session_at(placed.node), key[1])
            seat = self._seats[key] = SeatHandle(actor, *key)
        seat.placed, seat.result = placed, None
        tracked = self._jobs.setdefault(placed.job.job_id, TrackedJob(placed.job))
        if seat.ready:
            self._hand_over(seat, tracked)
        else:
            self._calls[seat.actor.begin.remote(self._parcel)] = seat

    def _session_at(self, node: str) -> str:
        """The name of this executor's folder on a node; several nodes may share a machine."""
        return f"{self.session}-{node[:12]}"

    def _hand_over(self, seat: SeatHandle, tracked: TrackedJob) -> None:
        job = tracked.job
        if isinstance(job, RunJob):
            job = replace(job, recorded=tracked.recorded())
            if job.recorded and (self.folder / "runs" / job.run_id).is_dir():
                seat.actor.lay.remote(job.run_id, runs.pack(self.folder / "runs" / job.run_id))
        self._call(seat, job_line(job))

    def _call(self, seat: SeatHandle, line: bytes | None) -> None:
        self._calls[seat.actor.talk.remote(line)] = seat

    def _listen(self) -> Iterator[JobResult]:
        """Wait for calls to return, and handle their results."""
        import ray

        if not self._calls:
            time.sleep(LOOK_SECONDS)
            return
        ready, rest = ray.wait(list(self._calls), num_returns=1, timeout=LOOK_SECONDS)
        if ready and rest:
            ready += ray.wait(rest, num_returns=len(rest), timeout=0)[0]
        for ref in ready:
            seat = self._calls.pop(ref, None)
            if seat is None:
                continue  # its node has left meanwhile
            try:
                result = self._handle(seat, ray.get(ref))
            except ray.exceptions.ActorUnavailableError:  # the actor or only its connection is dead; try again
                self._doubted[seat] = time.monotonic() + LOOK_SECONDS
                continue
            except (ray.exceptions.RayError, Malformed) as error:
                self._drop_dead(seat, " ".join(str(error).split())[:200] or type(error).__name__)
                continue
            if result is not None:
                yield result

    def _handle(self, seat: SeatHandle, answer: Any) -> JobResult | None:
        """Handle the result of a call: None from `begin`, lines or the exit status from `talk`, files from `fetch`."""
        placed = seat.placed
        assert placed is not None
        tracked = self._jobs[placed.job.job_id]
        if isinstance(answer, str):
            self._drop_dead(seat, answer)
            return None
        if seat.result is not None:
            self._bring_home(tracked.job.job_id, answer)
            return self._finish(seat, seat.result)
        if answer is None:
            self._hand_over(seat, tracked)
            return None
        waits = False
        for line in answer:
            message = parse(line)
            if "error" in message:
                self._fail(seat, cast(ErrorRecord, message["error"]))
                return None
            seat.ready = seat.ready or "ready" in message
            waits = waits or message.get("wait") is True
            if "event" in message:
                self._write(tracked.take(message["event"]))
            if "result" in message:
                return self._end(seat, result_of(message["result"], tracked.job))
        self._call(seat, json.dumps({"stop": self.draining}).encode() if waits else None)
        return None

    def _write(self, event: Event | None) -> None:
        if event is None:
            return
        self.ledger.append(event.to_record(), sync=event.kind in SYNCED)
        if (line := shown(event)) is not None:
            self.progress(line)

    def _end(self, seat: SeatHandle, result: JobResult) -> JobResult | None:
        """Finish a job; a run is finished once its folder has arrived."""
        if not isinstance(self._jobs[result.job_id].job, RunJob):
            return self._finish(seat, result)
        seat.result = result
        self._calls[seat.actor.fetch.remote(result.job_id)] = seat
        return None

    def _bring_home(self, run_id: str, packed: Any) -> None:
        try:
            runs.unpack(packed, self.folder / "runs" / run_id)
        except (runs.Unsafe, TypeError, ValueError) as error:
            self._note(f"the folder of run {run_id} was not received: {error}")

    def _finish(self, seat: SeatHandle, result: JobResult) -> JobResult | None:
        placed = seat.placed
        assert placed is not None
        seat.placed = seat.result = None
        self._jobs.pop(result.job_id, None)
        counts = self.scheduler.result(placed.ticket, whole=result.state == "finished")
        return replace(result, worker=seat.index) if counts else None

    # -- deaths --------------------------------------------------------------------------------------------------

    def _fail(self, seat: SeatHandle, error: ErrorRecord) -> None:
        """A worker reported a fatal error: before its first job it is the node's fault, else it ends the command."""
        before = f"{label(seat.node, self._hosts.get(seat.node, ''))}: "
        if seat.ready:
            raise rebuild(error, before)
        for other in self._seats_on(seat.node):
            if other.placed is not None:
                self.scheduler.give_back(other.placed.ticket)
            self._drop(other)
        self.scheduler.leave(seat.node)
        self.nodes.refuse(seat.node, f"{error.get('message')}")
        if not self.scheduler.nodes and not self.nodes.has_pending:
            raise rebuild(error, before)

    def _drop_dead(self, seat: SeatHandle, why: str) -> None:
        """Drop a seat that does not answer, and its node's other seats if the node is gone."""
        if seat.placed is None or self._seats.get((seat.node, seat.index)) is not seat:
            return
        if self.cluster.check():
            self._take_in(*self.nodes.look(now=True))
        if self._seats.get((seat.node, seat.index)) is not seat:
            return
        self._drop(seat)
        lost = self.scheduler.died(seat.placed.ticket)
        self._tell_lost(lost, f"worker {seat.index} on {label(seat.node, self._hosts.get(seat.node, ''))}", why)

    def _leave(self, name: str) -> None:
        for seat in self._seats_on(name):
            self._drop(seat)
        who = label(name, self._hosts.get(name, ""))
        losses = self.scheduler.leave(name)
        if not losses:
            self._note(f"{who} is gone")
        for lost in losses:
            self._tell_lost(lost, who, "")

    def _tell_lost(self, lost: Lost[Job] | None, who: str, why: str) -> None:
        if lost is None:
            return
        if not lost.again:
            deaths = f"{lost.deaths} workers and {lost.node_deaths} nodes died while running it"
            raise EnvironmentProblem(
                f"{lost.job.job_id}: {deaths}; the last was {who}{f', {why}' if why else ''}",
                hint="the same command resumes; metaloop doctor on that machine tests its sandbox",
            )
        self._note(f"{who} died; {lost.job.job_id} continues on another worker{f' ({why})' if why else ''}")

    def _seats_on(self, node: str) -> list[SeatHandle]:
        return [seat for seat in self._seats.values() if seat.node == node]

    def _drop(self, seat: SeatHandle) -> None:
        import ray

        del self._seats[seat.node, seat.index]
        self._calls = {ref: other for ref, other in self._calls.items() if other is not seat}
        self._doubted.pop(seat, None)
        ray.kill(seat.actor)

    def rest(self) -> None:
        """Stop the idle workers; they are started again when needed."""
        import ray

        idle = [seat for seat in self._seats.values() if seat.placed is None]
        ended = [seat.actor.end.remote() for seat in idle]
        if ended:
            ray.wait(ended, num_returns=len(ended), timeout=END_SECONDS)
        for seat in idle:
            self._drop(seat)

    # -- the end -------------------------------------------------------------------------------------------------

    def close(self, at_once: bool = False) -> None:
        """Stop the workers; ``at_once``: without waiting for them."""
        import ray

        try:
            if not at_once and self.cluster.check():
                self.rest()
            for seat in list(self._seats.values()):
                self._drop(seat)
            self._sweep()
        except (ray.exceptions.RayError, EnvironmentProblem):
            pass  # the cluster is gone, with everything on it
        finally:
            _LIVE.discard(self)
            self.ledger.close()

    def _sweep(self) -> None:
        import ray

        if not self.cluster.check():
            return
        broom = ray.remote(num_cpus=0, max_retries=0)(sweep)
        used = self.nodes.used
        refs = [broom.options(scheduling_strategy=pinned(name)).remote(self._session_at(name)) for name in used]
        ray.wait(refs, num_returns=len(refs), timeout=5) if refs else None

    def _note(self, text: str) -> None:
        self.progress({"kind": "note", "text": text})


def job_line(job: Job) -> bytes:
    from arena.jobs import to_json

    return json.dumps(to_json(job)).encode()
