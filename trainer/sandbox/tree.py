"""Reads a process tree from /proc: its processes, their memory and CPU time."""

from __future__ import annotations

import os
import select
from contextlib import suppress
from pathlib import Path

_PAGE_MB = os.sysconf("SC_PAGE_SIZE") / (1 << 20)
_TICKS = os.sysconf("SC_CLK_TCK")


def offspring(pid: int) -> list[int]:
    """The present children of a process's first thread; none if the process is gone."""
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split()]
    except OSError:
        return []


def descendants(root: int) -> list[int]:
    """The ids of a process and its living descendants."""
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
    """Resident memory of a process without file-backed pages, MiB."""
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


def ends(handle: int, seconds: float) -> bool:
    """Whether the process of a pidfd ends in time."""
    poll = select.poll()
    poll.register(handle, select.POLLIN)
    return bool(poll.poll(seconds * 1000))


class CpuCount:
    """CPU-seconds of a process tree, polled from outside; each call of `look` can only raise the result.

    The larger of two measurements counts. One is the sum over living processes and the children they waited for, which
    is exact if every child is waited for, as by an init. The other is the sum over all processes ever seen, which
    includes children that a parent hides by ignoring SIGCHLD. Source: proc_pid_stat(5), utime to cstime; wait(2).
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
