"""The last `metaloop task check` of a task, so that the commands that start studies need not test it again."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from programs.errors import EnvironmentProblem
from programs.ids import content_id
from trainer.finding import CheckFinding
from trainer.hardware import hardware_class
from trainer.task import Task
from trainer.user_files import private_folder, user_cache, write_private


def folder() -> Path:
    """Of records, and of outcomes that a second check reuses."""
    return user_cache() / "checks"


def _path(task: Task) -> Path:
    """A task's id does not cover its editable files, and a check says nothing about another kind of machine."""
    key = content_id("c", task.task_id, task.baseline().source_id, hardware_class(task.device))
    return folder() / f"{key}.json"


def read(task: Task) -> list[CheckFinding] | None:
    """The findings of the last check; None without one, or if its file is damaged."""
    try:
        return [CheckFinding(**one) for one in json.loads(_path(task).read_bytes())["findings"]]
    except (OSError, ValueError, TypeError, KeyError):
        return None


def write(task: Task, findings: list[CheckFinding]) -> None:
    """Store the findings. EnvironmentProblem if the folder cannot be written."""
    path = _path(task)
    try:
        private_folder(path.parent)
        write_private(path, json.dumps({"task": task.task_id, "findings": [asdict(one) for one in findings]}))
    except OSError as error:
        message = f"{path.parent}: cannot write: {error.strerror}"
        raise EnvironmentProblem(message, hint="set a writable folder: METALOOP_CACHE=DIR") from None
