"""`task init DIR`: writes a small complete task that passes `task check`, as a starting point."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from programs.errors import UsageError
from trainer.task import TASKS

_FILES = ("task.toml", "train.py", "prepare.py", "data.py")


def task_name(folder: Path) -> str:
    """A valid task name made from a folder's name."""
    name = re.sub(r"[^a-z0-9_-]+", "-", folder.resolve().name.lower()).strip("-_")
    return name if name[:1].isalpha() else f"task-{name}".rstrip("-")


def with_value(toml: str, section: str, key: str, value: str | int) -> str:
    """task.toml with another value of a key that it has. UsageError if the key has no line of its own."""
    lines, here = toml.splitlines(keepends=True), ""
    for at, line in enumerate(lines):
        if header := re.match(r"""\s*\[+\s*["']?([\w.-]+)""", line):
            here = header[1]
        elif here == section and (old := re.match(rf"""(\s*){key}\s*=\s*("[^"]*"|'[^']*'|[^\s#]+)""", line)):
            lines[at] = f"{old[1]}{key} = {json.dumps(value)}{line[old.end() :]}"  # ids of members depend on it
            break
    with suppress(tomllib.TOMLDecodeError, KeyError, TypeError):
        if tomllib.loads(made := "".join(lines))[section][key] == value:
            return made
    raise UsageError(f"task.toml: cannot replace {key} of [{section}]", hint=f"write {key} = … on a line of its own")


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
    """Write a task with a random law (`trainer.laws.planted.random_law`); existing files are never overwritten."""
    from trainer.laws.planted import random_law, simulated_task

    refuse_taken(folder)
    return simulated_task(random_law(seed), folder, name=task_name(folder))


def refuse_taken(folder: Path, files: Iterable[str] = _FILES) -> None:
    """Raise UsageError if one of the files of a new task already exists."""
    for file in files:
        if (folder / file).exists():
            raise UsageError(f"{folder / file}: already exists", hint="name an empty or new folder")
