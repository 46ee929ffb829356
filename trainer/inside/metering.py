"""Measures the CPU time and memory of an experiment's process tree, and kills such a tree.

Linux only. The monitoring process must be a child subreaper (`become_subreaper`): daemons that leave their parents then
become its children, so that nothing survives `kill_all` and wait4 returns all CPU time.
"""

from __future__ import annotations

import ctypes
import os
import signal
import time
from collections.abc import Iterable
from contextlib import suppress

from trainer.inside.namespaces import check

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_libc = ctypes.CDLL(None, use_errno=True)


def become_subreaper() -> None:
    """Make this process the parent of its orphaned descendants, instead of init. Raises OSError if that fails."""
    check(_libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), "child subreaper")


def die_with_parent(number: int = signal.SIGKILL) -> None:
    """Let the kernel send signal ``number`` to this process when the thread that started it ends."""
    _libc.prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0)


def cpu_seconds(pid: int) -> float:
    """CPU-seconds of one living process, all its threads, to the nanosecond; 0.0 if it is gone."""
    try:
        return time.clock_gettime((~pid << 3) | 2)  # the kernel's clock id for the CPU time of a process
    except OSError:
        return 0.0


def descendants() -> list[int]:
    """The ids of this process's living descendants; without a sandbox alone, inside one nothing reads /proc."""
    from trainer.sandbox import tree

    return tree.descendants(os.getpid())[1:]


class CpuMeter:
    """CPU-seconds of all descendants of this process, dead or alive, since the meter was created."""

    def __init__(self) -> None:
        self.reaped = 0.0
        self.peak_memory_mb = 0.0
        self._seen: dict[int, float] = {}

    def look(self, pids: Iterable[int]) -> float:
        """CPU-seconds so far, after a reading of these processes."""
        for pid in pids:
            self._seen[pid] = max(self._seen.get(pid, 0.0), cpu_seconds(pid))
        return self.total

    @property
    def total(self) -> float:
        """The larger of two lower bounds: CPU time from wait4, and the sum of the last readings of each process.

        If a process ignores SIGCHLD, wait4 misses its children's CPU time, but the readings include it.
        """
        return max(self.reaped, sum(self._seen.values()))

    def reap(self, pid: int = -1, flags: int = os.WNOHANG) -> tuple[int, int] | None:
        """Wait for one child and add its CPU time: (pid, status), (0, 0) if all still run, None without children."""
        try:
            done, status, usage = os.wait4(pid, flags)
        except ChildProcessError:
            return None
        if done:
            self.reaped += usage.ru_utime + usage.ru_stime
            self.peak_memory_mb = max(self.peak_memory_mb, usage.ru_maxrss / 1024)
        return done, status

    def kill_all(self) -> bool:
        """Kill and reap every descendant, including daemons. False if some are left after ten seconds.

        Without a sandbox: the processes of a sandbox end with the template, which is their namespace's init.
        """
        deadline = time.monotonic() + 10.0
        while (ended := self.reap()) is not None:
            if ended[0]:
                continue
            living = descendants()
            self.look(living)
            for number in (signal.SIGSTOP, signal.SIGKILL):  # stopped first: a stopped process cannot fork again
                for pid in living:
                    with suppress(OSError):
                        os.kill(pid, number)
            if time.monotonic() > deadline:
                return False
            time.sleep(0.0005)
        return True
