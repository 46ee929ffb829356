"""Remembers the tasks whose code the user has chosen to run. A study of another person may name others."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from arena.settings import StudyConfig
from programs.ids import content_id
from trainer.task import Task
from trainer.user_files import private_folder, user_cache


def remember(config: StudyConfig) -> None:
    """Called for the tasks of a new study, and for those of another one where the user has agreed."""
    with suppress(OSError):  # then the user is asked again
        for each in (config, *config.others):
            private_folder(_mark(each.task, each.task_id).parent)
            _mark(each.task, each.task_id).touch()


def unknown_tasks(config: StudyConfig) -> list[Task]:
    """The tasks of a study whose code did not come with metaloop, and was not chosen by the user."""
    new = [each.task_id for each in (config, *config.others) if not _mark(each.task, each.task_id).is_file()]
    tasks = [config.at(task_id).loaded_task() for task_id in new]
    return [task for task in tasks if (task.has_data or task.run) and not task.is_builtin]


def _mark(reference: str, task_id: str) -> Path:
    return user_cache() / "known" / content_id("k", reference, task_id)
