"""`task init DIR`: writes a small complete task that passes `task check`, as a starting point."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from programs.errors import UsageError
from trainer.task import TASKS

_FILES = ("task.toml", "train.py", "prepare.py", "data.py")


def task_name(folder: Path) -> str:
    """A valid task name made from a folder's name."""
    name = re.sub(r"[^a-z0-9_-]+", "-", folder.resolve().name.lower()).strip("-_")
    return name if name[:1].isalpha() else f"task-{name}".rstrip("-")


def init(folder: Path | str, name: str | None = None) -> Path:
    """Write the four files of a new task into ``folder``; existing files are never overwritten."""
    folder = Path(folder)
    refuse_taken(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for file in _FILES:
        text = (TASKS / "_new" / file).read_text("utf-8")
        (folder / file).write_text(text.replace('"NAME"', f'"{name or task_name(folder)}"'), "utf-8")
    return folder


def init_simulated(folder: Path, seed: int) -> Path:
    """Write a task with a random law (`trainer.planted.random_law`); existing files are never overwritten."""
    from trainer.planted import random_law, simulated_task

    refuse_taken(folder)
    return simulated_task(random_law(seed), folder, name=task_name(folder))


def refuse_taken(folder: Path, files: Iterable[str] = _FILES) -> None:
    """Raise UsageError if one of the files of a new task already exists."""
    for file in files:
        if (folder / file).exists():
            raise UsageError(f"{folder / file}: already exists", hint="name an empty or new folder")
