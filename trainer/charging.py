"""What an experiment holds of its device and pays for it: CPU-seconds on a CPU, wall seconds of a GPU that it holds.

On a GPU everything is charged from launch to the end of scoring, start-up, compilation and crashes included, for nobody
else could use it meanwhile. Where a task lets several experiments share a GPU (`per_device`), each pays its own wall
time in full: what an experiment costs must not depend on whether a neighbour happens to be there.
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

_NO_LINE = 1e8  # CPU-seconds: whoever holds a GPU is ended by the clock alone
_LOOK_SECONDS = 0.05  # between two looks for a GPU that somebody holds
IDLE_SHARE, _FEWEST = 0.5, 10  # of the time, below which it is told, in so many looks or more


class Charge(Protocol):
    """``leased``: the device is held alone, and waiting costs. ``environment`` is what train.py is told of it."""

    leased: bool
    environment: dict[str, str]

    def hold(self) -> AbstractContextManager[None]:
        """The right to use the device, waited for."""
        ...

    def watch(self, tally: ExperimentTally) -> AbstractContextManager[None]:
        """Look at the device before, beside and after what runs in here, and note it in ``tally``."""
        ...

    def lines(self, task: Task, fraction: float) -> tuple[float, float]:
        """CPU-seconds and wall seconds after which one process is ended."""
        ...

    def left(self, task: Task, tally: ExperimentTally, cpu: float, wall: float) -> tuple[float, float]:
        """Of these lines, what the training in ``tally`` leaves to a process that scores, with what scoring costs."""
        ...

    def seconds(self, task: Task, tally: ExperimentTally, wall: float) -> tuple[float, float]:
        """Device-seconds (charged, truly spent) of an experiment that took ``wall`` seconds from launch to score."""
        ...


class CpuSeconds:
    """Of one thread of a CPU, shared with whoever is there."""

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
        # who sleeps up to the wall cap pays the hard line: a run of sleepers would hardly ever end
        return max(tally.cpu, tally.wall / task.wall_factor), tally.cpu


class HeldSeconds:
    """Wall seconds under the lease of one device, of which ``sharing`` experiments may hold a part each.

    ``index`` is its number, ``profile`` what the launcher lets in; one without a GPU is a device of the same rules that
    nothing is asked of. ``folder`` is where leases lie.
    """

    leased = True

    def __init__(
        self, profile: DeviceProfile, *, sharing: int = 1, folder: Path | None = None, tool: str | Path = TOOL
    ) -> None:
        self.index = profile.gpu.index if profile.gpu else 0
        self.asked = profile.gpu is not None
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
        """A driver that does not answer is a finding: the experiment may be sound all the same."""
        tally.by_wall = True
        if not self.asked:
            yield
            return
        alone = self.sharing == 1
        before = gpu.GpuUsage(None, ())
        with _told(tally):
            before, findings = gpu.clean_before(self.index, self.tool)
            tally.findings += findings if alone else ()
        sampler = Sampler(self.index, self.tool)
        sampler.start()
        try:
            yield
        finally:
            sampler.stop()
            tally.findings += self._seen(sampler, alone)
            if alone:  # else what is seen of the GPU is its neighbours', too
                tally.utilization = sampler.utilization
                tally.device_memory_mb = sampler.peak_above(before.memory_mb)
            with _told(tally):
                tally.findings += gpu.clean_after(self.index, before, self.tool) if alone else ()

    def _seen(self, sampler: Sampler, alone: bool) -> list[str]:
        if sampler.problem:
            return [f"gpu: not watched: {sampler.problem}"]
        share = sampler.utilization
        if alone and share is not None and share < IDLE_SHARE and sampler.looks >= _FEWEST:
            return [f"gpu: computes in {share:.0%} of the time, as the driver counts it"]
        return []

    def lines(self, task: Task, fraction: float) -> tuple[float, float]:
        return _NO_LINE, task.hard_line(fraction)

    def left(self, task: Task, tally: ExperimentTally, cpu: float, wall: float) -> tuple[float, float]:
        return cpu, wall + task.scoring_seconds - tally.wall

    def seconds(self, task: Task, tally: ExperimentTally, wall: float) -> tuple[float, float]:
        return wall, wall


def charge_for(task: Task, profile: DeviceProfile | None) -> Charge:
    """How an experiment of the task is charged on a launcher with that profile, None for none.

    Raises EnvironmentProblem where a task for a GPU has a launcher without one.
    """
    if task.device == "cpu":
        return CpuSeconds()
    if profile is None or profile.gpu is None:
        message = f"{task.name} trains on a GPU, and its launcher has none"
        raise EnvironmentProblem(message, hint="make its launcher by launcher_for")
    return HeldSeconds(profile, sharing=task.per_device)


@contextmanager
def _when_free(take: Callable[[], gpu.Lease]) -> Iterator[None]:
    while True:
        try:
            lease = take()
            break
        except Busy:
            time.sleep(_LOOK_SECONDS)
    with lease:
        yield


@contextmanager
def _told(tally: ExperimentTally) -> Iterator[None]:
    try:
        yield
    except EnvironmentProblem as problem:
        tally.findings.append(f"gpu: cannot be asked: {problem.message}")
