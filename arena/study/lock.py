"""The lock of a study's folder: a process that writes to the study holds it, others ask whether it is held, and may
request that it stops. None of this reads the study or its task, which may have changed meanwhile."""

from __future__ import annotations

import fcntl
import os
import shlex
import time
from pathlib import Path
from typing import TextIO

from programs.common.errors import Busy
from programs.common.files import open_regular

ASKED = 0.5  # seconds for which a lock is tried again: who asks whether it is held has it for a moment


def take(folder: Path) -> TextIO:
    """Take the lock, until the file is closed or the process ends. Raises Busy where another process holds it."""
    lock = open(folder / "lock", "a", encoding="utf-8")  # noqa: SIM115 - held as long as the study is
    until = time.monotonic() + ASKED
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return lock
        except BlockingIOError:
            if time.monotonic() < until:
                time.sleep(0.01)
                continue
            lock.close()
            name = shlex.quote(str(folder))
            hint = f"metaloop status {name}, or metaloop stop {name}"
            raise Busy(f"{folder} is in use by another process", hint=hint) from None


def is_taken(folder: Path) -> bool:
    """Whether a process holds the lock now; never waits, and never takes the lock from one that asks, too."""
    lock = folder / "lock"
    if not lock.exists():
        return False
    with open_regular(lock) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def request_stop(folder: Path) -> None:
    """Request that the process which holds the lock finish its experiments in flight and stop."""
    (folder / "stop").write_text(f"{os.getpid()}\n", encoding="utf-8")
