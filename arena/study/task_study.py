"""A study on one of its tasks: where a match is played."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from analysis.ledger.events import Event
from analysis.ledger.run_state import StudyState
from arena.study.settings import StudyConfig
from arena.study.setup import RunCost
from arena.study.study import Study
from trainer.data import DataStore
from trainer.streams import Stream, Streams
from trainer.task import Task


class TaskStudy:
    """One task of a study: the study's ledger, state and seeds, with the task and the run budget there.

    ``task_id`` is how jobs name the task; empty is the study's first. Raises NotFound for an unknown one and
    NotComparable where the task has changed since the study was created.
    """

    def __init__(self, study: Study, task_id: str = "") -> None:
        self.study = study
        self.task_id = task_id
        self.config: StudyConfig = study.config.at(task_id)
        self.task: Task = study.task
        if task_id:
            self.task = self.config.loaded_task()

    @property
    def folder(self) -> Path:
        return self.study.folder

    @property
    def state(self) -> StudyState:
        return self.study.state

    @property
    def streams(self) -> Streams:
        return self.study.streams

    @property
    def cost(self) -> RunCost:
        return RunCost.of(self.config, self.task)

    def make_splits(self, stream: Stream, labels: Iterable[str]) -> None:
        """Generate hidden splits that are missing, on all workers' cores."""
        store = DataStore(self.task, self.streams, self.folder / "data", confined=bool(self.config.confined))
        store.make_all(stream, labels, self.config.workers)

    def record(self, event: Event) -> None:
        self.study.record(event)


def tasks_of(study: Study) -> list[TaskStudy]:
    """The tasks that every match is played on, the first one first."""
    return [TaskStudy(study), *(TaskStudy(study, each.task_id) for each in study.config.further)]


def held_out_tasks(study: Study) -> list[TaskStudy]:
    """The tasks that only the finished champion is run on."""
    return [TaskStudy(study, held_out.task_id) for held_out in study.config.held_out]
