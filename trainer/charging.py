"""How an experiment holds its device and pays for it: CPU-seconds on a CPU, wall seconds on a GPU under a lease.

On a GPU the charge covers everything from launch to the end of scoring, including start-up, compilation and crashes,
because the GPU is occupied in that time. If several experiments share a GPU (`per_device`), each pays its full wall
time; it is not halved while the GPU is shared.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Protocol

from programs.errors import Busy, EnvironmentProblem
from trainer import gpu
from trainer.device_profile import DeviceProfile
from trainer.gpus import TOOL
from trainer.referee import ExperimentTally
from trainer.sampler import Sampler
from trainer.task import Task

_NO_LIMIT = 1e8  # CPU-seconds: on a GPU only wall time is limited
_POLL_SECONDS = 0.05  # between two attempts to lease a GPU in use
IDLE_SHARE, _FEWEST = 0.5, 10  # lower utilization is a finding, if there are at least so many samples


class Charge(Protocol):
    """``leased``: the device is used exclusively, and waiting is charged. ``environment``: variables for train.py."""

    leased: bool
    environment: dict[str, str]

    def hold(self) -> AbstractContextManager[None]:
        """Wait for the right to use the device, and hold it."""
        ...

    def watch(self, tally: ExperimentTally) -> AbstractContextManager[None]:
        """Monitor the device before, during and after the block, and record the results in ``tally``."""
        ...

    def lines(self, task: Task, fraction: float) -> tuple[float, float]:
        """CPU-seconds and wall seconds after which one process is killed."""
        ...

    def left(self, task: Task, tally: ExperimentTally, cpu: float, wall: float) -> tuple[float, float]:
        """These limits for a scoring process: minus the use by training in ``tally``, plus the cost of scoring."""
        ...

    def seconds(self, task: Task, tally: ExperimentTally, wall: float) -> tuple[float, float]:
        """Device-seconds (charged, actually spent) of an experiment that took ``wall`` seconds from launch to score."""
        ...


class CpuSeconds:
    """Charges the CPU time of one thread; other processes may use the CPU too."""

    leased = False

    def __init__(self) -> None:
        self.environment = {"METALOOP_TRAIN_DEVICE": "cpu"}

    def hold(self) -> AbstractContextManager[None]:
        return nullcontext()

    def watch(self, tally: ExperimentTally) -> AbstractContextManager[None]:
        return nullcontext()

    def lines(self, task: Task, fraction: float) -> tuple[float, float]:
        return task.hard_line(fraction), task.wall_cap(fraction)

    def left(self, task: Task, tally: ExperimentTally, cpu: float, wall: float) -> tuple[float, float]:
        return cpu + task.scoring_seconds - tally.cpu, wall

    def seconds(self, task: Task, tally: ExperimentTally, wall: float) -> tuple[float, float]:
        # sleeping up to the wall cap costs the hard limit: otherwise a run of sleeping experiments would hardly end
        return max(tally.cpu, tally.wall / task.wall_factor), tally.cpu


class HeldSeconds:
    """Charges wall seconds under the lease of one device, which up to ``sharing`` experiments share.

    ``profile`` is the launcher's; a profile without a GPU follows the same rules, but no driver is queried.
    ``folder`` contains the leases.
    """

    leased = True

    def __init__(
        self, profile: DeviceProfile, *, sharing: int = 1, folder: Path | None = None, tool: str | Path = TOOL
    ) -> None:
        self.index = profile.gpu.index if profile.gpu else 0
        self.has_driver = profile.gpu is not None
        self.sharing = sharing
        self.folder = folder
        self.tool = tool
        self.environment = {"METALOOP_TRAIN_DEVICE": profile.device}

    @contextmanager
    def hold(self) -> Iterator[None]:
        with _when_free(lambda: gpu.Lease(self.index, self.folder, self.sharing)):
            yield

    @contextmanager
    def watch(self, tally: ExperimentTally) -> Iterator[None]:
        """A driver that does not answer is only a finding, because the experiment itself may be valid."""
        tally.by_wall = True
        if not self.has_driver:
            yield
            return
        alone = self.sharing == 1
        before = gpu.GpuUsage(None, ())
        with _failures_noted(tally):
            before, findings = gpu.clean_before(self.index, self.tool)
            tally.findings += findings if alone else ()
        sampler = Sampler(self.index, self.tool)
        sampler.start()
        try:
            yield
        finally:
            sampler.stop()
            tally.findings += self._seen(sampler, alone)
            if alone:  # otherwise the samples include the neighbours' use
                tally.utilization = sampler.utilization
                tally.device_memory_mb = sampler.peak_above(before.memory_mb)
            with _failures_noted(tally):
                tally.findings += gpu.clean_after(self.index, before, self.tool) if alone else ()

    def _seen(self, sampler: Sampler, alone: bool) -> list[str]:
        if sampler.problem:
            return [f"gpu: not monitored: {sampler.problem}"]
        share = sampler.utilization
        if alone and share is not None and share < IDLE_SHARE and sampler.looks >= _FEWEST:
            return [f"gpu: utilization {share:.0%}, as measured by the driver"]
        return []

    def lines(self, task: Task, fraction: float) -> tuple[float, float]:
        return _NO_LIMIT, task.hard_line(fraction)

    def left(self, task: Task, tally: ExperimentTally, cpu: float, wall: float) -> tuple[float, float]:
        return cpu, wall + task.scoring_seconds - tally.wall

    def seconds(self, task: Task, tally: ExperimentTally, wall: float) -> tuple[float, float]:
        return wall, wall


def charge_for(task: Task, profile: DeviceProfile | None) -> Charge:
    """How an experiment of the task is charged on a launcher with that profile (None: without a profile).

    Raises EnvironmentProblem if the task needs a GPU and the launcher has none.
    """
    if task.device == "cpu":
        return CpuSeconds()
    if profile is None or profile.gpu is None:
        message = f"{task.name} trains on a GPU, but its launcher has none"
        raise EnvironmentProblem(message, hint="create the launcher with launcher_for")
    return HeldSeconds(profile, sharing=task.per_device)


@contextmanager
def _when_free(take: Callable[[], gpu.Lease]) -> Iterator[None]:
    while True:
        try:
            lease = take()
            break
        except Busy:
            time.sleep(_POLL_SECONDS)
    with lease:
        yield


@contextmanager
def _failures_noted(tally: ExperimentTally) -> Iterator[None]:
    try:
        yield
    except EnvironmentProblem as problem:
        tally.findings.append(f"gpu: query failed: {problem.message}")
