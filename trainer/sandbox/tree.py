"""The processes of a tree, and the end of one; with the user's rights alone, and where possible not on Linux alone."""

from __future__ import annotations

import os
import select
from contextlib import suppress

from trainer.inside import metering


def descendants(root: int) -> list[int]:
    """The ids of a process and its living descendants, by the kernel's lists of children where it has them."""
    if os.path.exists("/proc/thread-self/children"):
        return metering.descendants(root)
    import psutil

    with suppress(psutil.Error):
        return [root, *(one.pid for one in psutil.Process(root).children(recursive=True))]
    return [root]


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
