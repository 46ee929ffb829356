"""The last `metaloop task check` of a task, beside its task.toml, so that the commands that start studies need not test
it again."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from trainer.cards.finding import CheckFinding
from trainer.hardware import hardware_class
from trainer.task import Task
from trainer.user_files import user_cache, write_private

NAME = "check.json"


def folder() -> Path:
    """Of outcomes that a second check reuses."""
    return user_cache() / "checks"


def _of(task: Task) -> dict[str, str]:
    """What a check is about: a task's id does not cover its editable files, and says nothing of the machine."""
    return {"task": task.task_id, "source": task.baseline().source_id, "hardware": hardware_class(task.device)}


def read(task: Task) -> list[CheckFinding] | None:
    """The findings of the last check; None without one of this task, these files and this kind of machine."""
    try:
        record = json.loads((task.folder / NAME).read_bytes())
        known = {name: record[name] for name in _of(task)} == _of(task)
        return [CheckFinding(**one) for one in record["findings"]] if known else None
    except (OSError, ValueError, TypeError, KeyError):
        return None


def write(task: Task, findings: list[CheckFinding]) -> None:
    """Store the findings; where the folder cannot be written, the next check tests again."""
    record = {**_of(task), "findings": [asdict(one) for one in findings]}
    with suppress(OSError):
        write_private(task.folder / NAME, json.dumps(record, indent=1, ensure_ascii=False) + "\n")
