"""How an experiment holds its device and pays for it: CPU-seconds on a CPU, wall seconds on a GPU under a lease and
where the metric is a time.

On a GPU the charge covers everything from launch to the end of scoring, including start-up, compilation and crashes,
because the GPU is occupied in that time.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from programs.common.errors import EnvironmentProblem
from trainer import gpu
from trainer.gpu import Gpu
from trainer.scoring.referee import ExperimentTally
from trainer.task import Task

_NO_LIMIT = 1e8  # CPU-seconds: on a GPU only wall time is limited
_SLACK_MB = 600  # of a driver, a desktop: more memory in use before an experiment is a finding
IDLE_SHARE, _FEWEST = 0.5, 10  # lower utilization is a finding, if there are at least so many samples


class CpuSeconds:
    """Charges the CPU time of one thread; other processes may use the CPU too.

    ``device``: what train.py computes on. ``gpu``: that of the present or last experiment.
    """

    device = "cpu"
    gpu = None

    def hold(self) -> AbstractContextManager[None]:
        """Wait for the right to use the device, and hold it."""
        return nullcontext()

    def watch(self, tally: ExperimentTally) -> AbstractContextManager[None]:
        """Monitor the device before, during and after the block, and record the results in ``tally``."""
        return nullcontext()

    def lines(self, task: Task, fraction: float, factor: float, trained: ExperimentTally | None) -> tuple[float, float]:
        """CPU-seconds and wall seconds after which one process is killed, times ``factor``. For a scoring process:
        minus the use by training in ``trained``, plus the cost of scoring."""
        cpu = task.hard_line(fraction) * factor
        return cpu + task.scoring_seconds - trained.cpu if trained else cpu, task.wall_cap(fraction) * factor

    def seconds(self, task: Task, tally: ExperimentTally, wall: float) -> tuple[float, float]:
        """Device-seconds (charged, actually spent) of an experiment that took ``wall`` seconds from launch to score."""
        if task.timed:
            return tally.wall, tally.wall
        # sleeping up to the wall cap costs the hard limit: otherwise a run of sleeping experiments would hardly end
        return max(tally.cpu, tally.wall / task.wall_factor), tally.cpu


class HeldSeconds:
    """Charges wall seconds on a GPU that no other experiment of this user has meanwhile; as `CpuSeconds`."""

    device = "cuda"

    def __init__(self, gpus: tuple[Gpu, ...]) -> None:
        self.gpus = gpus
        self.gpu: Gpu | None = None

    @contextmanager
    def hold(self) -> Iterator[None]:
        with gpu.held(self.gpus) as self.gpu:
            yield

    @contextmanager
    def watch(self, tally: ExperimentTally) -> Iterator[None]:
        """A driver that does not answer is only a finding, because the experiment itself may be valid."""
        tally.by_wall = True
        assert self.gpu is not None
        watch = gpu.Watch(self.gpu)
        before = None
        try:
            before = gpu.load(self.gpu).memory_mb
            if before is not None and before > _SLACK_MB:
                tally.findings.append(f"gpu: {before} MB in use by others before the experiment")
        except EnvironmentProblem as problem:
            tally.findings.append(f"gpu: query failed: {problem.message}")
        watch.start()
        try:
            yield
        finally:
            watch.stop()
            tally.utilization, tally.device_memory_mb = watch.utilization, watch.peak_above(before)
            share = watch.utilization
            if watch.problem:
                tally.findings.append(f"gpu: not monitored: {watch.problem}")
            elif share is not None and share < IDLE_SHARE and len(watch.looks) >= _FEWEST:
                tally.findings.append(f"gpu: utilization {share:.0%}, as measured by the driver")

    def lines(self, task: Task, fraction: float, factor: float, trained: ExperimentTally | None) -> tuple[float, float]:
        wall = task.hard_line(fraction) * factor
        return _NO_LIMIT, wall + task.scoring_seconds - trained.wall if trained else wall

    def seconds(self, task: Task, tally: ExperimentTally, wall: float) -> tuple[float, float]:
        return wall, wall


Charge = CpuSeconds | HeldSeconds


def charge_for(task: Task) -> Charge:
    """How an experiment of the task is charged. EnvironmentProblem if it needs a GPU and there is none."""
    return HeldSeconds(gpu.needed()) if task.device == "gpu" and task.law is None else CpuSeconds()
