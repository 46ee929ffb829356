"""Ties between processes on Linux: a child that dies with its parent, a parent that adopts orphans."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)


def die_with_parent() -> None:
    """Ask the kernel for SIGKILL when the parent ends; ends at once if it has ended already."""
    _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() == 1:
        os._exit(1)


def adopt_orphans() -> None:
    """Become a child subreaper: descendants whose parent ended become children of this process."""
    _prctl(PR_SET_CHILD_SUBREAPER, 1)
