"""The data sent to a node: the study's settings and the contents of its task folders; nodes share no files."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from arena.settings import StudyConfig
from arena.worker import RECORD, REPLAY
from programs.errors import TaskError
from trainer.task import Task

MOST_BYTES, MOST_FILES = 64 << 20, 4000
LEFT_OUT = frozenset({".git", "__pycache__", ".venv", "node_modules"})
HANDED_ON = (RECORD, REPLAY)  # environment variables that are sent: folders visible to all nodes; never keys

Files = tuple[tuple[str, bytes, bool], ...]  # name, content, executable


@dataclass(frozen=True)
class Parcel:
    """``tasks``: digest and files of each task's folder, by its name in the settings. ``study``: the folder at the
    driver, for nodes that can see it."""

    config: StudyConfig
    tasks: Mapping[str, tuple[str, Files]]
    study: str
    environment: Mapping[str, str] = field(default_factory=dict)


def parcel_of(config: StudyConfig, study: Path) -> Parcel:
    """The data that a worker of the study needs; without its starters, which only the driver uses."""
    tasks = {}
    for name in (config.task, *(each.task for each in config.others)):
        files = files_of(Task.load(name).folder)
        tasks[name] = hashlib.sha256(repr(files).encode()).hexdigest()[:16], files
    slim = config.model_copy(update={"programs": [], "plan": {}})
    here = {name: os.environ[name] for name in HANDED_ON if os.environ.get(name)}
    return Parcel(slim, tasks, str(study), here)


def files_of(folder: Path) -> Files:
    """Every file of a task's folder. Links within the folder are sent as files, links out of it are left out.

    Raises TaskError if the folder is larger than the limits.
    """
    files: list[tuple[str, bytes, bool]] = []
    size, root = 0, folder.resolve()
    for directory, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if name not in LEFT_OUT)
        for name in sorted(names):
            path = Path(directory, name)
            if not path.resolve().is_relative_to(root) or not path.is_file():
                continue
            size += path.stat().st_size
            if size > MOST_BYTES or len(files) >= MOST_FILES:
                limit = f"{MOST_BYTES >> 20} MB or {MOST_FILES} files"
                raise TaskError(
                    f"{folder} has more than {limit}, the limit for sending it to nodes",
                    hint="remove files that no experiment needs from the task's folder",
                )
            files.append((path.relative_to(root).as_posix(), path.read_bytes(), os.access(path, os.X_OK)))
    return tuple(files)


def lay(parcel: Parcel, root: Path) -> StudyConfig:
    """Write the tasks' files below ``root``, once per node; returns the settings with these paths."""
    at = {name: str(_lay(digest, files, root)) for name, (digest, files) in parcel.tasks.items()}
    config = parcel.config
    moved = {
        kind: [each.model_copy(update={"task": at[each.task]}) for each in getattr(config, kind)]
        for kind in ("further", "fresh", "reserve")
    }
    return config.model_copy(update={"task": at[config.task], **moved})


def _lay(digest: str, files: Files, root: Path) -> Path:
    folder = root / f"task-{digest}"
    if folder.is_dir():
        return folder
    fresh = root / f".task-{digest}-{os.getpid()}"
    for name, content, executable in files:
        path = fresh / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        path.chmod(0o755 if executable else 0o644)
    try:
        fresh.rename(folder)
    except OSError:
        if not folder.is_dir():  # else another worker of this node was faster
            raise
    return folder
