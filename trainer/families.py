"""Families of tasks: section `[family]` of task.toml says what distinguishes their members, drawn by a number.

A member has other data (``[data] variant``, else ``grammar``, else ``seed``) and another untouched train.py, whose
constants are drawn from the values that the family names. Members of a family share the names of their knobs; families
differ in them, and share roles.
"""

from __future__ import annotations

import hashlib
import tomllib
from pathlib import Path

from programs.errors import UsageError
from trainer.edits import Edit, Value
from trainer.scaffold import with_value
from trainer.task import Task

_KEYS = ("variant", "grammar", "seed")  # of [data], the first that a task has


def baseline_of(task: Task, number: int) -> Edit:
    """What distinguishes a member's untouched script from that of the family's first task."""
    import numpy as np

    if task.family is None:
        raise UsageError(f"the task {task.name} is no family", hint="task.toml needs a section [family]")
    digest = hashlib.sha256(f"{task.family.name} {number}".encode()).digest()
    rng = np.random.default_rng(int.from_bytes(digest[:16], "big"))
    values: dict[str, Value] = {}
    for name, offered in task.family.baseline.items():
        drawn = rng.random() < task.family.share
        at = int(rng.integers(len(offered)))
        if drawn:
            values[name] = offered[at]
    return Edit(values)


def write_member(task: Task, number: int, folder: Path) -> None:
    """Turn ``folder``, a copy of the family's task, into its member ``number``; 0 leaves it as it is."""
    if number == 0:
        return
    for name, text in task.edits.apply(task.baseline(), baseline_of(task, number)).files:
        (folder / name).write_text(text, "utf-8")
    path = folder / "task.toml"
    path.write_text(_numbered(path.read_text("utf-8"), number), "utf-8")


def _numbered(toml: str, number: int) -> str:
    """task.toml with the number in the key of [data] that distinguishes data sets."""
    key = next((key for key in _KEYS if key in tomllib.loads(toml).get("data", {})), "")
    if not key:
        raise UsageError("task.toml has no key of [data] that names its data", hint=f"one of {', '.join(_KEYS)}")
    return with_value(toml, "data", key, number)
