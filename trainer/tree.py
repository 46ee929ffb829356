"""A process tree of this machine as /proc tells it: who lives in it, what it holds, what it has used."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

_PAGE_MB = os.sysconf("SC_PAGE_SIZE") / (1 << 20)
_TICKS = os.sysconf("SC_CLK_TCK")


def offspring(pid: int) -> list[int]:
    """The children that the first thread of a process has now; none if it is gone."""
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split()]
    except OSError:
        return []


def descendants(root: int) -> list[int]:
    """A process and all that stem from it, as far as they live now."""
    tree, waiting = [], [root]
    while waiting:
        pid = waiting.pop()
        tree.append(pid)
        with suppress(OSError):
            for task in os.listdir(f"/proc/{pid}/task"):
                with suppress(OSError):
                    waiting += map(int, Path(f"/proc/{pid}/task/{task}/children").read_text("ascii").split())
    return tree


def resident_mb(pid: int) -> float:
    """Memory of a process that it does not share with a file, MiB."""
    try:
        fields = Path(f"/proc/{pid}/statm").read_text("ascii").split()
    except OSError:
        return 0.0
    return (int(fields[1]) - int(fields[2])) * _PAGE_MB


def pidfd(pid: int) -> int | None:
    try:
        return os.pidfd_open(pid)
    except OSError:
        return None  # ended already


class CpuCount:
    """CPU-seconds of a tree, looked at again and again from outside; each look can only raise the count.

    Two ways, of which the larger counts. What lives and what it has waited for, down from ``root``: exact where every
    child is waited for, as an init does. And the sum over all that was ever seen, each as of the last look: holds what
    a parent that ignores SIGCHLD would hide. Source: proc_pid_stat(5), utime to cstime; wait(2), NOTES.
    """

    def __init__(self, root: int) -> None:
        self.root = root
        self.seconds = 0.0
        self._seen: dict[tuple[int, str], int] = {}

    def look(self) -> float:
        living = 0
        for pid in descendants(self.root):
            with suppress(OSError, ValueError, IndexError):
                words = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()
                own, waited = int(words[11]) + int(words[12]), int(words[13]) + int(words[14])
                self._seen[pid, words[19]] = own
                living += own + waited
        self.seconds = max(self.seconds, living / _TICKS, sum(self._seen.values()) / _TICKS)
        return self.seconds
