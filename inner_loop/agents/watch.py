"""Watches an agent from outside: wall time, CPU, memory, disk and output; ends it at the first limit."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from inner_loop import worktree as trees
from trainer.commands.output import CommandOutput

if TYPE_CHECKING:
    from inner_loop.agents.access import AgentLimits

POLL_SECONDS = 0.2
_DISK_SHARE = 0.05  # most of the watch's time that is spent on measuring the worktree
_FREE_MB = 512.0  # free on the worktree's file system; only this shows open files without a name


class AgentWatch(threading.Thread):
    """Runs from `start` to `finish`. ``killed`` names the limit that was exceeded, or is empty.

    ``cpu_line``: CPU-seconds at which the agent is killed; may be changed while it runs. ``counted_by``: "looks" at the
    processes, or "cgroup".
    """

    def __init__(self, process: subprocess.Popen[bytes], limits: AgentLimits, worktree: Path, wall: float) -> None:
        """``wall``: seconds."""
        super().__init__(name="agent-watch", daemon=True)
        self.killed = ""
        self.counted_by, self.pause = "looks", POLL_SECONDS
        self.peak_memory_mb = 0.0
        self.cpu_line = float("inf")
        self.started = time.monotonic()
        self.limits = limits
        self.outputs: Sequence[CommandOutput] = ()
        self.process, self._worktree, self._wall = process, worktree, wall
        self.ending = threading.Event()
        self._disk_next = 0.0
        self._free_at_start = _free_mb(worktree)

    @property
    @abstractmethod
    def used(self) -> float:
        """CPU-seconds of all processes of the agent so far."""

    @abstractmethod
    def kill_processes(self) -> None:
        """Kill all processes of the agent."""

    @abstractmethod
    def memory_crossed(self) -> bool:
        """Whether they hold more memory than they may; also updates the peak."""

    def run(self) -> None:
        while not self.ending.wait(self.pause):
            crossed = self._crossed()
            if crossed:
                self.kill(crossed)
                return

    def kill(self, reason: str) -> None:
        """End the agent with all its processes; the first reason stays."""
        if self.process.poll() is None:
            self.killed = self.killed or reason
        self.kill_processes()

    def finish(self) -> bool:
        """Wait until all processes of the agent have ended, and stop watching. False if one does not end."""
        self.ending.set()
        if self.process.poll() is None:
            self.kill("closed")
        self.process.wait()
        self.join()
        return True

    def _crossed(self) -> str:
        if time.monotonic() - self.started > self._wall:
            return "wall"
        if self.used > self.cpu_line:
            return "budget"
        if any(output.written > self.limits.output_mb << 20 for output in self.outputs):
            return "output"
        if self.memory_crossed():
            return "memory"
        return "disk" if self._disk_crossed() else ""

    def _disk_crossed(self) -> bool:
        started = time.monotonic()
        if started < self._disk_next:
            return False
        try:
            crossed = trees.size_mb(self._worktree) > self.limits.disk_mb
        except trees.TooMuch:
            crossed = True
        ended = time.monotonic()
        self._disk_next = ended + (ended - started) / _DISK_SHARE
        return crossed or _free_mb(self._worktree) < min(_FREE_MB, self._free_at_start / 2)


def _free_mb(folder: Path) -> float:
    status = os.statvfs(folder)
    return status.f_bavail * status.f_frsize / (1 << 20)
