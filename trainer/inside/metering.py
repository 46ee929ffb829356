"""Measures the CPU time and memory of an experiment's process tree, and kills such a tree.

Linux only. The monitoring process must be a child subreaper (`become_subreaper`): daemons that leave their parents then
become its children, so that nothing survives `kill_all` and wait4 returns all CPU time.
"""

from __future__ import annotations

import ctypes
import os
import signal
import time
from contextlib import suppress

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_libc = ctypes.CDLL(None, use_errno=True)


def become_subreaper() -> None:
    """Make this process the parent of its orphaned descendants, instead of init. Raises OSError if that fails."""
    if _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "cannot become a child subreaper")


def die_with_parent(number: int = signal.SIGKILL) -> None:
    """Let the kernel send signal ``number`` to this process when the thread that started it ends."""
    _libc.prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0)


def cpu_seconds(pid: int) -> float:
    """CPU-seconds of one living process, all its threads, to the nanosecond; 0.0 if it is gone."""
    try:
        return time.clock_gettime((~pid << 3) | 2)  # the kernel's clock id for the CPU time of a process
    except OSError:
        return 0.0


def _parent(pid: int) -> int:
    """Parent of a process, -1 if the process is gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return int(file.read().rpartition(b")")[2].split()[1])
    except (OSError, ValueError, IndexError):
        return -1


class Tree:
    """The living descendants of this process.

    Whether a process is a descendant never changes while it lives, so each is looked up once: a scan costs one listing
    of /proc and one read per new process (0.1 ms on a quiet machine), not one read per process.
    """

    def __init__(self) -> None:
        self.foreign: set[int] = set()
        self.mine: set[int] = set()

    def scan(self) -> set[int]:
        """The ids of all living descendants."""
        root = os.getpid()
        alive = {int(name) for name in os.listdir("/proc") if name.isdigit()} - {root}
        self.foreign &= alive
        self.mine &= alive
        parents = {pid: _parent(pid) for pid in alive - self.foreign - self.mine}
        for pid in parents:
            self._classify(pid, parents, root)
        return set(self.mine)

    def _classify(self, pid: int, parents: dict[int, int], root: int) -> None:
        """Follow the parents of a new process up to a known one."""
        path = [pid]
        while (parent := parents[path[-1]]) in parents and parent not in path:
            path.append(parent)
        if parent == root or parent in self.mine:
            self.mine.update(path)
        elif parent == 0 or parent in self.foreign:
            self.foreign.update(path)
        # otherwise a process on the path ended during the scan: the next scan tries again


class CpuMeter:
    """CPU-seconds of all descendants of this process, dead or alive, since the meter was created."""

    def __init__(self) -> None:
        self.tree = Tree()
        self.reaped = 0.0
        self.peak_memory_mb = 0.0
        self._seen: dict[int, float] = {}

    def look(self, main: int, *, scan: bool) -> float:
        """CPU-seconds so far. ``scan``: search for new descendants; otherwise only ``main`` and known ones count."""
        if scan:
            self.tree.scan()
        for pid in self.tree.mine | {main}:
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
        """Kill and reap every descendant, including daemons. False if some are left after ten seconds."""
        deadline = time.monotonic() + 10.0
        while (ended := self.reap()) is not None:
            if ended[0]:
                continue
            self.tree = Tree()
            living = self.tree.scan()
            for number in (
                signal.SIGSTOP,
                signal.SIGKILL,
            ):  # stopped first: a stopped process cannot fork again
                for pid in living:
                    self._seen[pid] = max(self._seen.get(pid, 0.0), cpu_seconds(pid))
                    with suppress(OSError):
                        os.kill(pid, number)
            if time.monotonic() > deadline:
                return False
            time.sleep(0.0005)
        return True
