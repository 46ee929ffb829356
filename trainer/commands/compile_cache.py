"""Caches the kernels that torch.compile and Triton build for a task's untouched source on this machine.

Each experiment gets a private copy, which is deleted with it. Nothing is copied back from an edited source, because the
next experiment would execute it. Only the untouched baseline, a trusted part of the task, fills the cache, once for
each source, hardware class and set of packages. That run is not charged. A command gets the copy in a folder of
its sandbox; without a sandbox the user's own cache folders are used.
"""

from __future__ import annotations

import fcntl
import os
import platform
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from programs.common.ids import content_id
from trainer.gpu import hardware_class
from trainer.sandbox.blob import Blob
from trainer.task import Task
from trainer.user_files import user_cache


class CompileCache:
    """A packed folder (`trainer.inside.supervise.pack`) in the file ``path``."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.settled = False  # whether this process has filled it, tried to, or found it filled
        self._file = -1
        self._grown: Blob | None = None
        self._out: Blob | None = None

    @classmethod
    def of(cls, task: Task, packages: Sequence[str]) -> CompileCache:
        """``packages``: names and versions of what the command brings."""
        parts = (task.baseline().source_id, hardware_class(task.device))
        name = content_id("k", *parts, platform.python_version(), *packages)
        return cls(user_cache() / "compiled" / f"{task.name}-{name}.pack")

    def ensure(self, fill: Callable[[], object]) -> None:
        """Fill the cache with ``fill``, which runs the untouched source, unless it exists or an attempt was made.

        Other processes wait meanwhile. An exception of ``fill`` is passed on, and this process does not try again.
        """
        if self.settled:
            return
        self.settled = True
        with self._alone():
            if not self.path.is_file():
                with self._growing():
                    fill()

    def given(self) -> dict[str, int]:
        """Descriptors for one process: the cache to start from and, while it is being filled, one for the result."""
        descriptors: dict[str, int] = {}
        if self._grown is not None:
            descriptors["compiled"] = self._grown.fd
        elif self.path.is_file():
            if self._file < 0:
                self._file = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
            descriptors["compiled"] = self._file
        if self._out is not None:
            descriptors["compiled_out"] = self._out.fd
        return descriptors

    def took(self) -> None:
        """Called after each process: while the cache is being filled, the next one starts from its result."""
        if self._out is not None and self._out.size:
            if self._grown is not None:
                self._grown.close()
            self._grown, self._out = self._out, Blob()

    @contextmanager
    def _growing(self) -> Iterator[None]:
        self._out = Blob()
        try:
            yield
            if self._grown is not None:
                self._store(self._grown)
        finally:
            for blob in filter(None, (self._grown, self._out)):
                blob.close()
            self._grown = self._out = None

    def _store(self, blob: Blob) -> None:
        draft = self.path.with_suffix(".partial")
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600), "wb") as file:
            done = 0
            while done < blob.size:
                done += os.sendfile(file.fileno(), blob.fd, done, blob.size - done)
            os.fsync(file.fileno())
        draft.rename(self.path)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with open(self.path.with_suffix(".lock"), "a", encoding="utf-8") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
