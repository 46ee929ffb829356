"""Where an experiment runs, as the monitor and the experiment see it."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainer.inside import namespaces, packing

_COPY = 1 << 20
COMPILED_MB = 2048  # with a device: for what compilers write


@dataclass(frozen=True)
class ExperimentFolder:
    """Where an experiment runs: its folder, the training split, whether that is a sandbox, and whether one of the
    profile for devices, in which it may start programs."""

    folder: Path
    data: str
    sandboxed: bool
    device: bool = False

    @property
    def checkpoint(self) -> Path:
        return self.folder / "checkpoint.pt"

    @property
    def compiled(self) -> Path:
        """The compile cache: a private copy, which goes with the experiment."""
        return self.folder / "compiled"

    @property
    def library(self) -> Path:
        """Where a compiled kernel lies, if there is one."""
        return (Path(namespaces.BUILT) if self.sandboxed else self.folder) / "kernel.so"

    @classmethod
    def make(cls, request: dict[str, Any], root: str) -> ExperimentFolder:
        """A root of its own in namespaces of its own; without a sandbox (``root`` is given) a folder below it."""
        device = request["device"]
        if root:
            return cls(Path(tempfile.mkdtemp(dir=root)), request["data"], False, device)
        megabytes = request["file_mb"] + (COMPILED_MB if device else 64)
        training = request["kind"] not in ("predict", "converse")
        namespaces.isolate(megabytes, request["library_mb"], device=device, training=training)
        return cls(Path(namespaces.WORK), namespaces.DATA, True, device)

    def fill(self, request: dict[str, Any], descriptors: dict[str, int]) -> None:
        """Write the experiment's files, and the checkpoint where it starts from one."""
        at = 0
        for name, size in request["files"]:
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(os.pread(descriptors["files"], size, at))
            at += size
        if self.device:
            self.compiled.mkdir(mode=0o700)  # the template's temporary folder leads there
        if "compiled" in descriptors:
            packing.unpack(descriptors["compiled"], str(self.compiled))
        if "checkpoint" in descriptors:
            _lay(descriptors["checkpoint"], self.checkpoint, 0o600)
        if "library" in descriptors:
            _lay(descriptors["library"], self.library, 0o755)
            if self.sandboxed:
                namespaces.seal()

    def take(self, target: int, limit: int) -> str:
        """Copy the checkpoint out; empty, or why there is none that can be taken."""
        try:
            # no link is followed, and a FIFO without a writer does not stop us
            source = os.open(self.checkpoint, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            return "train.py wrote no checkpoint"
        except OSError as error:
            return f"the checkpoint cannot be taken: {error.strerror}"
        status = os.fstat(source)
        if not stat.S_ISREG(status.st_mode) or not 0 < status.st_size <= limit or status.st_nlink != 1:
            os.close(source)
            return f"the checkpoint is no plain file of 1 byte to {limit >> 20} MB"
        _copy(source, target, limit)
        os.close(source)
        return ""

    def remove(self) -> None:
        if not self.sandboxed:  # a sandbox vanishes with its namespaces
            shutil.rmtree(self.folder, ignore_errors=True)


def _lay(source: int, path: Path, mode: int) -> None:
    target = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    _copy(source, target, 1 << 40)
    os.close(target)


def _copy(source: int, target: int, limit: int) -> None:
    at = 0
    while at < limit and (data := os.pread(source, min(_COPY, limit - at), at)):
        at += len(data)
        view = memoryview(data)
        while len(view):
            view = view[os.write(target, view) :]
