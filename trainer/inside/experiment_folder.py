"""The folder in which an experiment runs, as the monitor and the experiment see it."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainer.inside import namespaces

_COPY = 1 << 20


@dataclass(frozen=True)
class ExperimentFolder:
    """An experiment's folder, its training split, and whether it is in a sandbox."""

    folder: Path
    data: str
    sandboxed: bool

    @property
    def checkpoint(self) -> Path:
        return self.folder / "checkpoint.pt"

    @property
    def used_mb(self) -> float:
        """The memory that its files hold, in MiB; 0 without a sandbox, where they lie on a disk."""
        held = os.statvfs(self.folder)
        return (held.f_blocks - held.f_bfree) * held.f_frsize / 2**20 if self.sandboxed else 0.0

    @classmethod
    def make(cls, request: dict[str, Any], root: str) -> ExperimentFolder:
        """Enter a new root in new namespaces; without a sandbox (``root`` is given), create a folder below it."""
        if root:
            return cls(Path(tempfile.mkdtemp(dir=root)), request["data"], False)
        namespaces.isolate(request["file_mb"] + 64, training=request["kind"] not in ("predict", "converse"))
        return cls(Path(namespaces.WORK), namespaces.DATA, True)

    def fill(self, request: dict[str, Any], descriptors: dict[str, int]) -> None:
        """Write the experiment's files, and the checkpoint if it starts from one."""
        at = 0
        for name, size in request["files"]:
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(os.pread(descriptors["files"], size, at))
            at += size
        if "checkpoint" in descriptors:
            target = os.open(self.checkpoint, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            _copy(descriptors["checkpoint"], target, 1 << 40)
            os.close(target)

    def take(self, target: int, limit: int) -> str:
        """Copy the checkpoint out; returns an empty string, or why there is no valid checkpoint."""
        try:
            # do not follow a link, and do not block on a FIFO without a writer
            source = os.open(self.checkpoint, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            return "train.py wrote no checkpoint"
        except OSError as error:
            return f"the checkpoint cannot be read: {error.strerror}"
        status = os.fstat(source)
        if not stat.S_ISREG(status.st_mode) or not 0 < status.st_size <= limit or status.st_nlink != 1:
            os.close(source)
            return f"the checkpoint is not a regular file of 1 byte to {limit >> 20} MB"
        _copy(source, target, limit)
        os.close(source)
        return ""

    def remove(self) -> None:
        if not self.sandboxed:  # a sandbox vanishes with its namespaces
            shutil.rmtree(self.folder, ignore_errors=True)


def _copy(source: int, target: int, limit: int) -> None:
    at = 0
    while at < limit and (data := os.pread(source, min(_COPY, limit - at), at)):
        at += len(data)
        view = memoryview(data)
        while len(view):
            view = view[os.write(target, view) :]
