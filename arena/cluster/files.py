"""Folders as data: nodes share no files, so tasks go to them, and the folders of runs come back, through Ray."""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Iterator
from pathlib import Path

from programs.common.errors import TaskError

MOST_BYTES, MOST_FILES = 64 << 20, 4000
LEFT_OUT = frozenset({".git", "__pycache__", ".venv", "node_modules"})  # of a task
LAST = ("logs/", "agent/")  # of a run: left out first, where it is too large

Files = tuple[tuple[str, bytes, bool], ...]  # name, content, executable


def files_of(folder: Path) -> Files:
    """Every file of a task's folder. Raises TaskError if it is larger than the limits."""
    names = list(_names(folder, LEFT_OUT))
    if len(names) > MOST_FILES or sum((folder / name).stat().st_size for name in names) > MOST_BYTES:
        raise TaskError(
            f"{folder} has more than {MOST_BYTES >> 20} MB or {MOST_FILES} files, the limit for sending it to nodes",
            hint="remove files that no experiment needs from the task's folder",
        )
    return tuple(_read(folder, name) for name in names)


def run_files(folder: Path) -> Files:
    """The files of a run's folder; above MOST_BYTES some logs and files of agents are missing."""
    files, left = [], MOST_BYTES
    for name in sorted(_names(folder), key=lambda name: (name.startswith(LAST), name)):
        left -= (folder / name).stat().st_size
        if left < 0:
            break
        files.append(_read(folder, name))
    return tuple(files)


def write_files(files: Files, folder: Path) -> None:
    """Write these files as the new ``folder``, all or none. Raises ValueError for a name that leads out of it."""
    partial = folder.with_name(f".{folder.name}.{os.getpid()}")
    try:
        for name, content, executable in files:
            path = partial / name
            if not path.resolve().is_relative_to(partial.resolve()):
                raise ValueError(f"{name!r} leads out of the folder")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            path.chmod(0o755 if executable else 0o644)
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _names(folder: Path, left_out: Collection[str] = ()) -> Iterator[str]:
    """The files below a folder, in a fixed order. A link within it counts as a file, one that leads out is left out."""
    root = folder.resolve()
    for directory, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if name not in left_out)
        for name in sorted(names):
            path = Path(directory, name)
            if path.resolve().is_relative_to(root) and path.is_file():
                yield path.relative_to(root).as_posix()


def _read(folder: Path, name: str) -> tuple[str, bytes, bool]:
    path = folder / name
    return name, path.read_bytes(), os.access(path, os.X_OK)
