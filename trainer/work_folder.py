"""The folder that a launcher works in: held as long as its owner lives, and removed by whoever starts next if not.

An owner holds an advisory lock (flock) on its folder. The kernel lets go of it when the owner dies, however it dies;
it is the same in every container that sees the folder, where process ids are not, and no id comes back to another.
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

_HELD = "held"  # stands in a folder once its owner has the lock: without one, the lock says nothing
_STALE_SECONDS = 3600.0  # of a folder without it, of an earlier version or a file system without locks
_PREFIX = "metaloop-"


class WorkFolder:
    """In memory where that is possible. Making one removes what dead owners left behind."""

    def __init__(self) -> None:
        shm = Path("/dev/shm")
        parent = shm if shm.is_dir() and os.access(shm, os.W_OK) else Path(tempfile.gettempdir())
        sweep(parent)
        self.path = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-", dir=parent))
        self._lock = _hold(self.path)

    def ensure(self) -> Path:
        """The folder; made anew where it is gone, as a template that was cut off in an experiment leaves it."""
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
    """Remove the work folders of ours in ``parent`` whose owner is dead."""
    for old in parent.glob(f"{_PREFIX}*-*"):
        with suppress(OSError):
            if old.name.split("-")[1].isdigit() and _is_ours(old) and _is_left(old):
                shutil.rmtree(old, ignore_errors=True)


def _hold(folder: Path) -> int | None:
    """A descriptor that holds the lock; None where the file system has none."""
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
