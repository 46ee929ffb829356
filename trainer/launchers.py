"""Creates the launcher for a task on this machine, with a GPU if the task uses one."""

from __future__ import annotations

from trainer.compile_cache import CompileCache
from trainer.device_profile import DeviceProfile
from trainer.gpus import GpuSeat, usable
from trainer.local import LocalLauncher
from trainer.task import Task


def launcher_for(task: Task, *, sandbox: bool = True, number: int = 0) -> LocalLauncher:
    """A launcher that is not started yet. ``number``: its index in this process. `close` releases its GPU.

    The trainer of a task with a command takes the GPU itself, so that Metaloop's own torch need not be built for it.
    """
    if task.device == "cpu" or task.run is not None:
        return LocalLauncher(sandbox=sandbox, torch=task.torch, number=number)
    seat = GpuSeat(usable())
    profile = DeviceProfile(seat.gpu)
    launcher = LocalLauncher(sandbox=sandbox, torch=task.torch, number=number, profile=profile)
    launcher.seat = seat
    launcher.compiled = CompileCache.of(task, sandbox)
    return launcher
