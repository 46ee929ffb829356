"""A process tree that we started: the limits that end it, what it uses, what it writes, and its end.

In a sandbox its first process is the init of a process namespace, and whoever kills that kills all; a cgroup counts and
limits there, too, where there is one. Without a sandbox it is a process group, and nothing is used that only Linux has.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import IO

import psutil

from trainer.sandbox.cgroup import Cgroup
from trainer.sandbox.launcher import LauncherFault, plain
from trainer.sandbox.tree import descendants, ends, pidfd

_TAIL_BYTES = 40_000
_END_SECONDS = 10.0
_HELPERS = 8  # processes of ours in the group
_MB = 1 << 20


@dataclass(frozen=True)
class CommandLimits:
    """Hard limits of a process tree. MB are 2**20 bytes. ``memory_mb``: all processes together, exact with a memory
    cgroup, else at each look. ``processes``: including threads. ``disk_mb``: its work folder; ``tmp_mb``: /tmp and home
    each, ``file_mb``: per file, as much as ``disk_mb`` unless given. ``output_mb``: each pipe."""

    cpu_seconds: float = float("inf")
    wall_seconds: float = 3600.0
    memory_mb: int = 2048
    disk_mb: int = 1024
    processes: int = 512
    output_mb: int = 16
    result_mb: int = 64
    tmp_mb: int = 0
    file_mb: int = 0
    open_files: int = 4096

    def inside(self) -> dict[str, int]:
        """The limits that the kernel enforces per process, as names of resource.RLIMIT_*."""
        size = (self.file_mb or self.disk_mb) << 20
        own = {"NPROC": self.processes, "FSIZE": size, "NOFILE": self.open_files, "CORE": 0}
        return own | ({"CPU": int(self.cpu_seconds) + 2} if self.cpu_seconds < float("inf") else {})


class CommandOutput(threading.Thread):
    """Reads a pipe, which it takes over, until all its writers are gone. ``written``: bytes so far."""

    def __init__(self, pipe: IO[bytes]) -> None:
        super().__init__(name="command-output", daemon=True)
        self.written = 0
        self._tail = bytearray()
        self._descriptor = os.dup(pipe.fileno())
        pipe.close()
        self.start()

    def run(self) -> None:
        try:
            while data := os.read(self._descriptor, 1 << 16):
                self.written += len(data)
                self._tail += data
                if len(self._tail) > 4 * _TAIL_BYTES:
                    del self._tail[:-_TAIL_BYTES]
        finally:
            os.close(self._descriptor)

    def tail(self) -> bytes:
        """The last bytes, once the writers are gone or have had some seconds for it."""
        self.join(_END_SECONDS)
        return bytes(self._tail[-_TAIL_BYTES:])

    def text(self) -> str:
        """The same as text."""
        return plain(self.tail().decode("utf-8", "replace"))[-_TAIL_BYTES:]


class ProcessTree:
    """``first``: the init of its namespace; None without a sandbox. ``more_mb``: what its files in memory may hold.

    ``killed``: the limit that was exceeded, another reason why we ended it, or "". ``cpu_line``: CPU-seconds at which
    it is killed; may change while it runs. ``counted_by``: "looks" at the processes, or "cgroup".
    """

    def __init__(
        self, process: subprocess.Popen[bytes], limits: CommandLimits, first: int | None = None, more_mb: int = 0
    ) -> None:
        self.process, self.limits = process, limits
        self.killed, self.cpu_line = "", limits.cpu_seconds
        self.outputs = [CommandOutput(pipe) for pipe in (process.stdout, process.stderr) if pipe]
        self.held = self.peak_memory_mb = 0.0  # MiB at the last look, and at most
        self._began = time.monotonic()
        self._root, self._seen, self._used = first or process.pid, dict[psutil.Process, float](), 0.0
        self._reading = threading.Lock()
        self._handle = pidfd(first) if first else None
        self.group = Cgroup.create("tree") if first else None
        if self.group:
            self.group.limit(limits.memory_mb + more_mb, limits.processes + _HELPERS)
            self.group.add(process.pid)
        self._before = 0.0
        if first:  # setting up the sandbox is not charged
            self._before, self._used = self.look(), 0.0

    @property
    def counted_by(self) -> str:
        return "cgroup" if self.group else "looks"

    @property
    def wall(self) -> float:
        return time.monotonic() - self._began

    def look(self) -> float:
        """CPU-seconds of all its processes so far; each look can only raise them.

        The largest of three counts. The sum over living processes and the children that they waited for is exact if
        every child is waited for, as by an init. The sum over all processes ever seen includes children that a parent
        hides by ignoring SIGCHLD. A cgroup counts every thread. Source: proc_pid_stat(5), utime to cstime; wait(2).
        """
        with self._reading:
            living = held = 0.0
            for pid in descendants(self._root):
                with suppress(psutil.Error):
                    one = psutil.Process(pid)
                    times, memory = one.cpu_times(), one.memory_info()
                    self._seen[one] = times.user + times.system
                    living += self._seen[one] + times.children_user + times.children_system
                    held += (memory.rss - getattr(memory, "shared", 0)) / _MB
            outside = self.group.cpu_seconds() if self.group else None
            counted = max(living, sum(self._seen.values())) - self._before
            self.held, self.peak_memory_mb = held, max(self.peak_memory_mb, held)
            self._used = max(self._used, counted, outside or 0.0)
            return self._used

    def crossed(self) -> str:
        """The limit that is exceeded now, or ""."""
        used, limits = self.look(), self.limits
        counts = self.group is not None and "memory" in self.group.controls
        over = {
            "cpu": used > self.cpu_line,
            "wall": self.wall > limits.wall_seconds,
            "output": any(output.written > limits.output_mb << 20 for output in self.outputs),
            "memory": self.group.out_of_memory_kills() > 0 if self.group and counts else self.held > limits.memory_mb,
        }
        return next((name for name, is_so in over.items() if is_so), "")

    def kill(self, reason: str) -> None:
        """Kill all its processes; the first reason stays."""
        if reason and not self.killed and self.process.poll() is None:
            self.killed = reason
        if self._handle is not None:
            with suppress(OSError):
                signal.pidfd_send_signal(self._handle, signal.SIGKILL)
            with suppress(OSError):
                self.process.kill()
            return
        self.look()  # a last one
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        for one in list(self._seen):  # in sessions of their own
            with suppress(psutil.Error):
                one.kill()

    def end(self, reason: str = "") -> None:
        """Kill what is left and wait for it. LauncherFault if a process of a sandbox does not end."""
        self.kill(reason)
        self.process.wait()
        gone = self._handle is None or ends(self._handle, _END_SECONDS)
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None
        if self.group is not None:
            if self.group.out_of_memory_kills() and not self.killed:
                self.killed = "memory"  # the kernel was faster than our looks
            self._used = max(self._used, self.group.cpu_seconds() or 0.0)
            self.peak_memory_mb = max(self.peak_memory_mb, self.group.peak_memory_mb() or 0.0)
            self.group.kill()
            self.group.close()
        if not gone:
            raise LauncherFault("processes of a sandbox do not end")
