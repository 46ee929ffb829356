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
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from programs.common.ids import content_id
from trainer.gpu import hardware_class
from trainer.jobs.job import COMPILED, COMPILED_MB, Ended, Job
from trainer.task import Task
from trainer.user_files import user_cache


class CompileCache:
    """The files of the compilers' caches, in the file ``path``. ``settled``: whether this process has filled it, tried
    to, or found it filled."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.settled = self._is_growing = self._has_grown = False
        self._files: dict[str, bytes] = {}

    @classmethod
    def of(cls, task: Task, packages: Sequence[str]) -> CompileCache:
        """``packages``: names and versions of what the command brings."""
        parts = (task.baseline().source_id, hardware_class(task.device))
        name = content_id("k", "files", *parts, platform.python_version(), *packages)
        return cls(user_cache() / "compiled" / f"{task.name}-{name}.pack")

    def ensure(self, fill: Callable[[], object]) -> None:
        """Fill the cache with ``fill``, which runs the untouched source, unless it exists or an attempt was made.

        Other processes wait meanwhile. An exception of ``fill`` is passed on, and this process does not try again.
        """
        if self.settled:
            return
        self.settled = True
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with open(self.path.with_suffix(".lock"), "a", encoding="utf-8") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if (stored := self._stored()) is None:
                self._fill(fill)
                stored = self._stored()
            self._files = stored or {}

    def _stored(self) -> dict[str, bytes] | None:
        """What the file holds; None without one, and where it is damaged."""
        try:
            with zipfile.ZipFile(self.path) as pack:
                return {name: pack.read(name) for name in pack.namelist()}
        except (OSError, zipfile.BadZipFile):
            return None

    def _fill(self, fill: Callable[[], object]) -> None:
        self._is_growing = True
        try:
            fill()
            if self._has_grown:  # perhaps by nothing, so that this is known, too
                draft = self.path.with_suffix(".partial")
                with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600), "wb") as file:
                    with zipfile.ZipFile(file, "w") as pack:
                        for name, data in self._files.items():
                            pack.writestr(name, data)
                    os.fsync(file.fileno())
                draft.rename(self.path)
        finally:
            self._files, self._is_growing = {}, False

    def given_to(self, job: Job) -> Job:
        """The job with a copy of the cache; while the cache is being filled, the result is fetched."""
        job = replace(job, files={**job.files, **self._files}, compiles=True)
        if not self._is_growing:
            return job
        limits = replace(job.limits, result_mb=job.limits.result_mb + COMPILED_MB)
        return replace(job, limits=limits, wanted=[*job.wanted, COMPILED])

    def take(self, ended: Ended) -> Ended:
        """While the cache is being filled, the next process starts from the result of this one."""
        if self._is_growing:
            fetched = {name: data for name, data in ended.files.items() if name.startswith(f"{COMPILED}/")}
            if any(line.startswith(f"{COMPILED}:") for line in ended.missing):  # too large: none is better than a part
                fetched, self._files = {}, {}
            self._files, self._has_grown = fetched or self._files, True
        other = [line for line in ended.missing if not line.startswith((f"{COMPILED}/", f"{COMPILED}:"))]
        return replace(ended, missing=tuple(other))
