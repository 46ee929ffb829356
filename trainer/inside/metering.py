"""What an experiment's processes use: CPU of a whole process tree, and how to end such a tree.

Linux only. The process that watches must be a child subreaper (`become_subreaper`): daemons that flee their
parents then become its own children, so that nothing outlives `kill_all` and all CPU comes back through wait4.
"""

from __future__ import annotations

import ctypes
import os
import signal
import time
from collections.abc import Iterable
from contextlib import suppress

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_libc = ctypes.CDLL(None, use_errno=True)


def become_subreaper() -> None:
    """Orphaned descendants are given to this process instead of init. Raises OSError where that is refused."""
    if _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "cannot become a child subreaper")


def die_with_parent(number: int = signal.SIGKILL) -> None:
    """Get signal ``number`` when the thread that started this process ends."""
    _libc.prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0)


def cpu_seconds(pid: int) -> float:
    """CPU-seconds of one living process, all its threads, to the nanosecond; 0.0 if it is gone."""
    try:
        return time.clock_gettime((~pid << 3) | 2)  # the kernel's clock id for "CPU time of process pid"
    except OSError:
        return 0.0


def _parent(pid: int) -> int:
    """Parent of a process, -1 if the process is gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return int(file.read().rpartition(b")")[2].split()[1])
    except (OSError, ValueError, IndexError):
        return -1


def private_mb(pids: Iterable[int]) -> float:
    """Resident memory of living processes that no file on a disk answers for, MiB.

    Pages that forks share count for each; of memory that is shared on purpose, the most that one of them holds counts.
    """
    private, shared = 0, 0
    for pid in pids:
        held = _held_kb(pid)
        private += held.get(b"RssAnon", 0)
        shared = max(shared, held.get(b"RssShmem", 0))
    return (private + shared) / 1024


def _held_kb(pid: int) -> dict[bytes, int]:
    """The kinds of resident memory that the kernel tells of a process, kB; nothing of one that has ended."""
    try:
        with open(f"/proc/{pid}/status", "rb") as file:
            lines = [line.split() for line in file if line.startswith(b"Rss")]
        return {words[0].rstrip(b":"): int(words[1]) for words in lines}
    except (OSError, ValueError, IndexError):
        return {}


def listed() -> list[int]:
    """The processes that /proc shows."""
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


class Tree:
    """The living descendants of this process.

    Whether a process descends from us never changes while it lives, so each is looked up once: a scan costs one
    listing of /proc and one read per new process (0.1 ms on a quiet machine), not one read per process.
    """

    def __init__(self) -> None:
        self.foreign: set[int] = set()
        self.mine: set[int] = set()

    def scan(self) -> set[int]:
        """Process ids of all living descendants."""
        root = os.getpid()
        alive = {int(name) for name in os.listdir("/proc") if name.isdigit()} - {root}
        self.foreign &= alive
        self.mine &= alive
        parents = {pid: _parent(pid) for pid in alive - self.foreign - self.mine}
        for pid in parents:
            self._classify(pid, parents, root)
        return set(self.mine)

    def _classify(self, pid: int, parents: dict[int, int], root: int) -> None:
        """Follow the parents of a new process up to one that is known."""
        path = [pid]
        while (parent := parents[path[-1]]) in parents and parent not in path:
            path.append(parent)
        if parent == root or parent in self.mine:
            self.mine.update(path)
        elif parent == 0 or parent in self.foreign:
            self.foreign.update(path)
        # else somebody on the way vanished during the scan: looked at again next time


class CpuMeter:
    """CPU-seconds of everything that descends from this process, dead or alive, since the meter was made."""

    def __init__(self) -> None:
        self.tree = Tree()
        self.reaped = 0.0
        self.peak_memory_mb = 0.0
        self._seen: dict[int, float] = {}

    def look(self, main: int, *, scan: bool) -> float:
        """CPU-seconds so far. ``scan`` looks for further descendants; without it only ``main`` and known ones count."""
        if scan:
            self.tree.scan()
        for pid in self.tree.mine | {main}:
            self._seen[pid] = max(self._seen.get(pid, 0.0), cpu_seconds(pid))
        return self.total

    @property
    def total(self) -> float:
        """Two lower bounds, the larger counts: what wait4 told, and what was seen of each process while it lived.

        A process that ignores SIGCHLD keeps its children's CPU out of wait4, but not out of our sight.
        """
        return max(self.reaped, sum(self._seen.values()))

    def reap(self, pid: int = -1, flags: int = os.WNOHANG) -> tuple[int, int] | None:
        """Wait for one child and book its CPU: (pid, wait status); (0, 0) if all still run; None if none is left."""
        try:
            done, status, usage = os.wait4(pid, flags)
        except ChildProcessError:
            return None
        if done:
            self.reaped += usage.ru_utime + usage.ru_stime
            self.peak_memory_mb = max(self.peak_memory_mb, usage.ru_maxrss / 1024)
        return done, status

    def kill_all(self, deadline_seconds: float = 10.0) -> bool:
        """Kill and reap every descendant, those that fled too. False if some are left at the deadline."""
        deadline = time.monotonic() + deadline_seconds
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
