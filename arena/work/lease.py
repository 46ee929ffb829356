"""Each run leases a device while an experiment trains: several can share one, or one can have all for a moment.

The number is a choice of the command, not of its study: no result depends on it. Locks are files; the kernel releases
them when their process ends (flock(2)), so a kill leaves nothing behind.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from arena.work.choice import on_cluster
from programs.common.errors import UsageError
from trainer.gpu import usable
from trainer.task import Task

if TYPE_CHECKING:
    from arena.study.settings import StudyConfig

VARIABLE = "METALOOP_RUNS_PER_DEVICE"  # of this process and those that it starts; without it one run, of chat CHAT_RUNS
MOST = 8  # each run is a process with a warm template
CHAT_RUNS = 2  # keep a device in use while a model takes up to twice as long as a training
LOOK_SECONDS = 0.005


def processes(config: StudyConfig) -> int:
    """Worker processes of a study on this machine. UsageError where its devices cannot be shared."""
    task, value = Task.load(config.task), os.environ.get(VARIABLE) or "0"
    if not (value.isdecimal() and int(value) <= MOST):
        raise UsageError(f"{VARIABLE}={value}: not a number of runs", hint=f"a number from 1 to {MOST}")
    runs = int(value)
    alone = on_cluster() or config.devices > 1
    if runs > 1 and alone:
        why = "its runs have several devices each and hold them" if config.devices > 1 else "on a cluster"
        raise UsageError(f"{VARIABLE}={runs}: not possible here, {why}", hint="leave it out")
    waits = config.researcher == "chat" and not alone and not task.timed
    return within_devices(config.workers, task, config.devices) * (runs or (CHAT_RUNS if waits else 1))


def within_devices(workers: int, task: Task, devices: int = 1) -> int:
    """The number of workers that fit on this machine's GPUs; for a CPU task, all."""
    if task.device == "cpu":
        return workers
    return max(1, min(workers, len(usable()) // devices))


class Leases:
    """At most ``width`` experiments at once, over all processes that use the same ``folder``."""

    def __init__(self, folder: Path, width: int) -> None:
        self._folder, self._width = folder, width

    def one(self) -> AbstractContextManager[None]:
        """Hold a device while in here."""
        return self._held(1)

    def alone(self) -> AbstractContextManager[None]:
        """Hold all devices while in here, so that nothing else of the study trains."""
        return self._held(self._width)

    @contextmanager
    def _held(self, count: int) -> Iterator[None]:
        """Waiting processes queue at a gate lock, and only the first looks for devices. The kernel grants the lock in
        order of arrival, so a run that has just trained queues behind those that wait."""
        self._folder.mkdir(exist_ok=True)
        with ExitStack() as held:
            with open(self._folder / "gate.lock", "a", encoding="utf-8") as gate:
                fcntl.flock(gate, fcntl.LOCK_EX)
                for _ in range(count):
                    while (device := take(self._folder, "device", self._width)) is None:
                        time.sleep(LOOK_SECONDS)
                    held.enter_context(device)
            yield


def take(folder: Path, name: str, width: int) -> TextIO | None:
    """One of ``width`` lock files, locked; None if all are held."""
    for number in range(width):
        slot = open(folder / f"{name}-{number}.lock", "a", encoding="utf-8")  # noqa: SIM115 - held by the caller
        try:
            fcntl.flock(slot, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            slot.close()
        else:
            return slot
    return None
