"""Remembers the tasks whose code the user has chosen to run. A study of another person may name others."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from arena.study.settings import StudyConfig
from programs.common.ids import content_id
from trainer.task import Task
from trainer.user_files import private_folder, user_cache


def remember(config: StudyConfig) -> None:
    """Called for the tasks of a new study, and for those of another one where the user has agreed."""
    with suppress(OSError):  # then the user is asked again
        for mark in _marks(config).values():
            private_folder(mark.parent)
            mark.touch()


def unknown_tasks(config: StudyConfig) -> list[Task]:
    """The tasks of a study whose code did not come with metaloop, and was not chosen by the user."""
    new = [task_id for task_id, mark in _marks(config).items() if not mark.is_file()]
    tasks = [config.at(task_id).loaded_task() for task_id in new]
    return [task for task in tasks if (task.has_data or task.run) and not task.is_builtin]


def _marks(config: StudyConfig) -> dict[str, Path]:
    """The file that says so of each task, by the task's id: where it is, and what it contains, have to be the same."""
    folder, ids = user_cache() / "known", [config.task_id, *(other.task_id for other in config.others)]
    return {task_id: folder / content_id("k", config.at(task_id).task, task_id) for task_id in ids}
