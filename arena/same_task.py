"""Whether a task is still the one that a study was made on: its files, and the text that it is made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from arena.settings import Reserved, StudyConfig
from programs.errors import NotComparable
from trainer.task import Task
from trainer.text_source import STDLIB


def require_same(task: Task, config: StudyConfig) -> None:
    """Raise NotComparable where ``task`` is another than ``config`` was made with, and say whether it is the text."""
    if task.task_id == config.task_id:
        return
    if config.text_hash and task.text_hash != config.text_hash:
        cure = f"go on under Python {config.versions.python}" if task.text == STDLIB else f"restore {task.text}"
        raise NotComparable(
            f"the text of task {config.task} differs: it is now {task.text_hash or 'generated'}, "
            f"this study was made on {config.text_hash}",
            hint=f"{cure}, or start a new study",
            ids=[config.text_hash, task.text_hash],
        )
    raise NotComparable(
        f"task {config.task} is now {task.task_id}, this study was made on {config.task_id}",
        hint="restore the task's files, or start a new study",
        ids=[config.task_id, task.task_id],
    )


@dataclass(frozen=True)
class NamedTasks:
    """Tasks of a study as study.toml names them, and loaded."""

    named: list[Reserved]
    tasks: list[Task]


def with_texts(others: Sequence[Reserved]) -> NamedTasks:
    """Tasks of a study with the hashes of their texts."""
    tasks = [Task.load(each.task) for each in others]
    named = [each.model_copy(update={"text_hash": t.text_hash}) for each, t in zip(others, tasks, strict=True)]
    return NamedTasks(named, tasks)
