"""The launcher that a task needs on this machine: with a GPU of its own where the task has one."""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from pathlib import Path

from programs.errors import EnvironmentProblem
from trainer import gpu
from trainer.compile_cache import CompileCache
from trainer.device_profile import DeviceProfile
from trainer.gpus import Gpu, usable
from trainer.local import LocalLauncher
from trainer.task import Task

_SEATS = 64  # launchers at a GPU that are told apart


def launcher_for(task: Task, *, sandbox: bool = True, number: int = 0) -> LocalLauncher:
    """Not started. ``number``: which one of this process's it is. It gives its GPU up when it is closed."""
    if task.device == "cpu":
        return LocalLauncher(sandbox=sandbox, libraries=task.libraries, number=number)
    seat = Seat(usable())
    profile = DeviceProfile(seat.gpu)
    launcher = LocalLauncher(sandbox=sandbox, libraries=task.libraries, number=number, profile=profile)
    launcher.seat = seat
    launcher.compiled = CompileCache.of(task, sandbox)
    return launcher


class Seat:
    """A place at the GPU at which the fewest launchers of this user's are. It spreads them; the lease is what counts.

    A lock on a file for each place, so that nothing stays behind where its holder is killed.
    """

    def __init__(self, gpus: tuple[Gpu, ...], folder: Path | None = None) -> None:
        if not gpus:
            raise EnvironmentProblem("no GPU that can be used", hint="metaloop doctor looks at them")
        folder = folder or gpu.runtime_folder()
        self._file = -1
        for number in range(_SEATS):
            for one in gpus:
                if self._take(folder, f"seat-{one.index}-{number}.lock"):
                    self.gpu = one
                    return
        raise EnvironmentProblem(f"{_SEATS} launchers at each GPU", hint="let some of them end")

    def _take(self, folder: Path, name: str) -> bool:
        self._file = gpu.open_lock(folder, name)
        with suppress(BlockingIOError):
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        self.close()
        return False

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
