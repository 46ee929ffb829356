"""The work folder of a launcher. If its owner dies, the next launcher that starts removes it.

The owner holds an advisory lock (flock) on its folder, which the kernel releases when the owner dies. Unlike a process
id, a lock is visible in every container that sees the folder, and is never reused.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
import tempfile
import time
from contextlib import suppress
from pathlib import Path

_HELD = "held"  # this file exists once the owner has the lock; without it, a free lock means nothing
_STALE_SECONDS = 3600.0  # for folders without that file: on a file system without locks
_PREFIX = "metaloop-"


class WorkFolder:
    """A work folder, in memory if possible. Creating one removes the folders of dead owners."""

    def __init__(self) -> None:
        shm = Path("/dev/shm")
        parent = shm if shm.is_dir() and os.access(shm, os.W_OK) else Path(tempfile.gettempdir())
        sweep(parent)
        self.path = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-", dir=parent))
        self._lock = _hold(self.path)

    def ensure(self) -> Path:
        """The folder; created again if a template that was killed during an experiment has removed it."""
        if not self.path.is_dir():
            self.path.mkdir()
            self._release()
            self._lock = _hold(self.path)
        return self.path

    def remove(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)
        self._release()

    def _release(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def sweep(parent: Path) -> None:
    """Remove this user's work folders in ``parent`` whose owner is dead."""
    for old in parent.glob(f"{_PREFIX}*-*"):
        with suppress(OSError):
            if old.name.split("-")[1].isdigit() and _is_ours(old) and _is_left(old):
                shutil.rmtree(old, ignore_errors=True)


def _hold(folder: Path) -> int | None:
    """A descriptor with the lock; None if the file system has no locks."""
    lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        (folder / _HELD).touch()
    except OSError:
        os.close(lock)
        return None
    return lock


def _is_ours(folder: Path) -> bool:
    status = folder.lstat()
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid()


def _is_left(folder: Path) -> bool:
    if not (folder / _HELD).exists():
        owner = folder.name.split("-")[1]
        return not Path("/proc", owner).exists() and time.time() - folder.stat().st_mtime > _STALE_SECONDS
    lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(lock)
    return True
