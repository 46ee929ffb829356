"""The processes of a tree, and the end of one; with the user's rights alone, and where possible not on Linux alone."""

from __future__ import annotations

import os
import select
from contextlib import suppress
from pathlib import Path


def descendants(root: int) -> list[int]:
    """The ids of a process and its living descendants, by the kernel's lists of children where it has them."""
    if not os.path.exists("/proc/thread-self/children"):
        import psutil

        with suppress(psutil.Error):
            return [root, *(one.pid for one in psutil.Process(root).children(recursive=True))]
        return [root]
    tree, waiting = [], [root]
    while waiting:
        pid = waiting.pop()
        tree.append(pid)
        with suppress(OSError):
            for task in os.listdir(f"/proc/{pid}/task"):
                with suppress(OSError):
                    waiting += map(int, Path(f"/proc/{pid}/task/{task}/children").read_text("ascii").split())
    return tree


def ends(handle: int, seconds: float) -> bool:
    """Whether the process of a pidfd ends in time."""
    poll = select.poll()
    poll.register(handle, select.POLLIN)
    return bool(poll.poll(seconds * 1000))


def pidfd(pid: int) -> int | None:
    try:
        return os.pidfd_open(pid)
    except OSError:
        return None  # ended already
