"""The tasks of a study: those of its search, and the held-out ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from arena.study.settings import StudyConfig
from trainer.task import Task


@dataclass(frozen=True)
class StudyTasks:
    """``training``: every match of the search is played on each; ``held_out``: (task, whether it is tested)."""

    training: Sequence[Task]
    held_out: Sequence[tuple[Task, bool]] = ()

    @classmethod
    def of(cls, config: StudyConfig) -> StudyTasks:
        """Raises NotComparable where a task's files are no longer those that the study was made on."""
        training = [config.at(task_id).loaded_task() for task_id in ("", *(entry.task_id for entry in config.further))]
        held_out = [(config.at(entry.task_id).loaded_task(), entry.tested) for entry in config.held_out]
        return cls(training, held_out)

    @property
    def every(self) -> list[Task]:
        return [*self.training, *(task for task, _ in self.held_out)]
