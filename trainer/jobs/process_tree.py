"""The process tree of a job: what it uses, what it writes, the limits that end it, and its end.

A thread reads each pipe, one looks at the limits every 50 ms (`ProcessTree.watch`), and the calling thread attends to
the job. Both may kill it. In a sandbox its first process is the init of a process namespace, whose end
kills all; a cgroup counts and limits there, too, where there is one. Without a sandbox it is a process group, and
nothing is used that only Linux has.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO

import psutil

from programs.common.files import TooMuch
from trainer.jobs import writable_folder
from trainer.jobs.job import COMPILED_MB, WATCHED, Ended, Job, Killed, ProcessesLeft, plain
from trainer.sandbox.cgroup import Cgroup
from trainer.sandbox.tree import descendants, ends, pidfd

_TAIL_BYTES = 40_000
_END_SECONDS = 10.0
_HELPERS = 8  # processes of ours in the group
_MB = 1 << 20
_COUNTED_SECONDS, _LOOK_SECONDS = 0.2, 0.05  # between two looks: with a cgroup, and without, to see short processes
_DISK_SHARE = 0.05  # most of the time that is spent on measuring a job's folder
_FREE_MB = 512.0  # free on the folder's file system; only this shows open files without a name


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
    """The processes of a job. ``first``: the init of their namespace; None without a sandbox.

    ``killed``: the limit that was exceeded, another reason why we ended it, or "". ``cpu_line``: CPU-seconds at which
    it is killed; may change while it runs.
    """

    def __init__(self, process: subprocess.Popen[bytes], job: Job, first: int | None = None) -> None:
        self.process, self.limits, self._folder = process, job.limits, job.folder
        self.killed: Killed = ""
        self.cpu_line = job.limits.cpu_seconds
        self.outputs = [CommandOutput(pipe) for pipe in (process.stdout, process.stderr) if pipe]
        self.held = self.peak_memory_mb = 0.0  # MiB at the last look, and at most
        self._began = time.monotonic()
        self._root, self._seen, self._used = first or process.pid, dict[psutil.Process, float](), 0.0
        self._reading, self._waiting = threading.Lock(), threading.Lock()
        self._disk_next, self._free_at_start = 0.0, _free_mb(job.folder) if job.folder else 0.0
        self._handle = pidfd(first) if first else None
        self.group = Cgroup.create("tree") if first else None
        if self.group:
            in_memory = (0 if job.folder else job.limits.disk_mb) + (COMPILED_MB if job.compiles else 0)
            self.group.limit(job.limits.memory_mb + in_memory, job.limits.processes + _HELPERS)
            self.group.add(process.pid)
        self._before = 0.0
        if first:  # setting up the sandbox is not charged
            self._before, self._used = self.look(), 0.0
        if job.stdin:
            threading.Thread(target=_feed, args=(process.stdin, job.stdin), daemon=True).start()

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
                    process = psutil.Process(pid)
                    times, memory = process.cpu_times(), process.memory_info()
                    self._seen[process] = times.user + times.system
                    living += self._seen[process] + times.children_user + times.children_system
                    held += (memory.rss - getattr(memory, "shared", 0)) / _MB
            outside = self.group.cpu_seconds() if self.group else None
            counted = max(living, sum(self._seen.values())) - self._before
            self.held, self.peak_memory_mb = held, max(self.peak_memory_mb, held)
            self._used = max(self._used, counted, outside or 0.0)
            return self._used

    def crossed(self) -> Killed:
        """The limit that is exceeded now, or ""."""
        used, limits = self.look(), self.limits
        counts = self.group is not None and "memory" in self.group.controls
        exceeded = {
            "cpu": used > self.cpu_line,
            "wall": self.wall > limits.wall_seconds,
            "output": any(output.written > limits.output_mb << 20 for output in self.outputs),
            "memory": self.group.out_of_memory_kills() > 0 if self.group and counts else self.held > limits.memory_mb,
            "disk": self._folder is not None and self._is_folder_too_large(self._folder),
        }
        return next((name for name in WATCHED if exceeded[name]), "")

    def _is_folder_too_large(self, folder: Path) -> bool:
        started = time.monotonic()
        if started < self._disk_next:
            return False
        try:
            is_too_large = writable_folder.size_mb(folder) > self.limits.disk_mb
        except TooMuch:
            is_too_large = True
        ended = time.monotonic()
        self._disk_next = ended + (ended - started) / _DISK_SHARE
        return is_too_large or _free_mb(folder) < min(_FREE_MB, self._free_at_start / 2)

    def watch(self, attend: Attend | None, is_over: Callable[[float], bool]) -> None:
        """Kill it at the first limit that it exceeds, and call ``attend`` in this thread, until it is over.

        ``is_over``: waits for so many seconds at most, and returns whether the job has ended.
        """
        ending = threading.Event()

        def look() -> None:
            while not ending.wait(_COUNTED_SECONDS if attend and self.group else _LOOK_SECONDS):
                if crossed := self.crossed():
                    return self.kill(crossed)

        watcher = threading.Thread(target=look, name="job-watch", daemon=True)
        watcher.start()
        try:
            is_attended = attend is None or attend(self)
            while is_attended and not is_over(0.0 if attend else _LOOK_SECONDS) and not self.killed:
                is_attended = attend is None or attend(self)
            if not is_attended:
                self.kill("asked")
        finally:
            ending.set()
            watcher.join()

    def has_ended(self) -> bool:
        """Whether its first process has ended; then the CPU time of those that this one waited for counts, too."""
        return self._reap(os.WNOHANG)

    def _reap(self, flags: int) -> bool:
        with self._waiting:
            if self.process.returncode is None:
                pid, status, used = os.wait4(self.process.pid, flags)
                if pid:
                    self.process.returncode = os.waitstatus_to_exitcode(status)
                if pid and self._handle is None:  # in a sandbox it would include the start of the sandbox
                    self._used = max(self._used, used.ru_utime + used.ru_stime)
                    held = used.ru_maxrss / (1 << 20 if sys.platform == "darwin" else 1 << 10)
                    self.peak_memory_mb = max(self.peak_memory_mb, held)
        return self.process.returncode is not None

    def kill(self, reason: Killed) -> None:
        """Kill all its processes; the first reason stays."""
        if reason and not self.killed and not self.has_ended():
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

    def end(self) -> None:
        """Kill what is left and wait for it. ProcessesLeft if a process of a sandbox does not end."""
        self.kill("")
        self._reap(0)
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
            raise ProcessesLeft("processes of a sandbox do not end")

    def ended(self, exit_code: int, wall_seconds: float) -> Ended:
        """Its end, after `end`, without files."""
        errors = self.outputs[1].text() if len(self.outputs) > 1 else ""
        usage = (self.look(), wall_seconds, self.peak_memory_mb)
        counted_by = "cgroup" if self.group else "looks"
        return Ended(exit_code, self.killed, *usage, log=self.outputs[0].text(), errors=errors, counted_by=counted_by)


#: What a caller does while a job runs; False ends the job.
Attend = Callable[[ProcessTree], bool]


def _feed(pipe: IO[bytes], data: bytes) -> None:
    with suppress(OSError), pipe:  # a job need not read it
        pipe.write(data)


def _free_mb(folder: Path) -> float:
    status = os.statvfs(folder)
    return status.f_bavail * status.f_frsize / (1 << 20)
