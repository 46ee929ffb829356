"""Watches an agent's sandbox from outside: wall time, CPU, memory, disk and output; kills it at the first limit."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from inner_loop import worktree as trees
from trainer.sandbox.cgroup import Cgroup
from trainer.sandbox.tree import CpuCount, descendants, pidfd, resident_mb

if TYPE_CHECKING:
    from inner_loop.agents.access import AgentLimits

_POLL_SECONDS, _LOOK_SECONDS = 0.2, 0.05  # the latter without a cgroup, to see short processes
_DISK_SHARE = 0.05  # most of the watch's time that is spent on measuring the worktree
_END_SECONDS = 10.0
_FREE_MB = 512.0  # free on the worktree's file system; only this shows open files without a name
_HELPERS = 8  # processes of ours in the group


class SandboxWatch(threading.Thread):
    """Runs from the start of a sandbox to `finish`. ``killed`` names the limit that was exceeded, or is empty.

    ``cpu_line``: CPU-seconds at which it is killed; may be changed while it runs.
    """

    def __init__(
        self, process: subprocess.Popen[bytes], first: int, limits: AgentLimits, worktree: Path, wall: float
    ) -> None:
        """``first``: pid of the first process in the sandbox; when it ends, all in it end. ``wall``: seconds."""
        super().__init__(name="agent-watch", daemon=True)
        self.killed = ""
        self.peak_memory_mb = 0.0
        self.cpu_line = float("inf")
        self.started = time.monotonic()
        self._process, self._limits, self._worktree, self._wall = process, limits, worktree, wall
        self._first = first
        self._handle = pidfd(first)
        self._end = threading.Event()
        self._disk_next = 0.0
        self._free_at_start = _free_mb(worktree)
        self._group = Cgroup.create("agent")
        if self._group is not None:
            self._group.limit(limits.memory_mb, limits.processes + _HELPERS)
            self._group.add(process.pid)
        self._count, self._used, self._reading = CpuCount(first), 0.0, threading.Lock()
        self._before = self._count.look()  # setting up the sandbox is not charged
        self.counted_by = "cgroup" if self._group is not None and "cpu" in self._group.controls else "looks"
        self._pause = _POLL_SECONDS if self.counted_by == "cgroup" else _LOOK_SECONDS
        self.start()

    @property
    def used(self) -> float:
        """CPU-seconds of all processes of the sandbox so far, the larger of the cgroup's and our own count."""
        with self._reading:
            outside = self._group.cpu_seconds() if self._group else None
            self._used = max(self._used, self._count.look() - self._before, outside or 0.0)
            return self._used

    def run(self) -> None:
        while not self._end.wait(self._pause):
            crossed = self._crossed()
            if crossed:
                self.kill(crossed)
                return

    def kill(self, reason: str) -> None:
        """End the sandbox with all its processes; the first reason stays."""
        if self._process.poll() is None:
            self.killed = self.killed or reason
        with suppress(OSError):
            self._process.kill()
        if self._handle is not None:
            with suppress(OSError):
                signal.pidfd_send_signal(self._handle, signal.SIGKILL)

    def finish(self) -> bool:
        """Wait until all processes of the sandbox have ended, and stop watching. False if one does not end."""
        self._end.set()
        if self._process.poll() is None:
            self.kill("closed")
        self._process.wait()
        gone = True
        if self._handle is not None:
            poll = select.poll()
            poll.register(self._handle, select.POLLIN)
            gone = bool(poll.poll(_END_SECONDS * 1000))
            os.close(self._handle)
            self._handle = None
        self.join()
        if self._group is not None:
            if self._group.out_of_memory_kills() and not self.killed:
                self.killed = "memory"  # the kernel was faster than our poll
            self._used = self.used
            self.peak_memory_mb = max(self.peak_memory_mb, self._group.peak_memory_mb() or 0.0)
            self._group.kill()
            self._group.close()
        return gone

    def _crossed(self) -> str:
        if time.monotonic() - self.started > self._wall:
            return "wall"
        if self.used > self.cpu_line:
            return "budget"
        if self._memory_crossed():
            return "memory"
        return "disk" if self._disk_crossed() else ""

    def _memory_crossed(self) -> bool:
        """By the kernel with a memory cgroup; else from the sum over all processes."""
        if self._group is not None and "memory" in self._group.controls:
            return self._group.out_of_memory_kills() > 0
        held = sum(resident_mb(pid) for pid in descendants(self._first))
        self.peak_memory_mb = max(self.peak_memory_mb, held)
        return held > self._limits.memory_mb

    def _disk_crossed(self) -> bool:
        started = time.monotonic()
        if started < self._disk_next:
            return False
        try:
            crossed = trees.size_mb(self._worktree) > self._limits.disk_mb
        except trees.TooMuch:
            crossed = True
        ended = time.monotonic()
        self._disk_next = ended + (ended - started) / _DISK_SHARE
        return crossed or _free_mb(self._worktree) < min(_FREE_MB, self._free_at_start / 2)


class OutputTail(threading.Thread):
    """Reads a pipe to its end and keeps the last ``limit`` bytes; more than ``flood`` bytes in all end the sandbox."""

    def __init__(self, descriptor: int, limit: int, flood: int, watch: SandboxWatch) -> None:
        super().__init__(name="agent-output", daemon=True)
        self.total = 0
        # its own descriptor: the other may be closed, and its number belong to another file, while this one reads
        self._descriptor, self._limit, self._flood, self._watch = os.dup(descriptor), limit, flood, watch
        self._kept = bytearray()
        self.start()

    def run(self) -> None:
        try:
            while data := os.read(self._descriptor, 1 << 16):
                self.total += len(data)
                self._kept += data
                if len(self._kept) > 2 * self._limit:
                    del self._kept[: -self._limit]
                if self.total > self._flood:
                    self._watch.kill("output")
        finally:
            os.close(self._descriptor)

    def value(self) -> bytes:
        """The last bytes, after the end of the pipe."""
        self.join()
        return bytes(self._kept[-self._limit :])


def _free_mb(folder: Path) -> float:
    status = os.statvfs(folder)
    return status.f_bavail * status.f_frsize / (1 << 20)
