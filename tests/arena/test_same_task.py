"""A study goes on with the task that it was made on, and says so where that is another one now."""

from __future__ import annotations

from pathlib import Path

import pytest

from arena.study.public_data import public_line, public_lines
from arena.study.settings import HeldOutTask
from arena.study.setup import reference
from arena.study.study import Study
from arena.study.task_study import held_out_tasks
from arena.work.trainers import Trainers
from programs.common.errors import NotComparable
from tests.inner_loop.play import BLOBS
from tests.studies import study_on
from trainer import variants
from trainer.task import Task


@pytest.fixture
def task(tmp_path: Path) -> Task:
    folder = variants.init(tmp_path / "mine")
    toml = folder / "task.toml"
    toml.write_text(toml.read_text().replace("[data]\n", "[data]\npublic = true\n"))
    return Task.load(folder)


def change(task: Task) -> None:
    data = task.folder / "data.py"
    data.write_text(data.read_text() + "\n")


def test_other_files_are_refused_until_they_are_restored(tmp_path: Path, task: Task) -> None:
    study_on(tmp_path / "s", task, 1.2)
    before = (task.folder / "data.py").read_text()
    change(task)
    with pytest.raises(NotComparable, match=rf"is now t.*{task.task_id}; newer files: .*data\.py"):
        Study.open(tmp_path / "s")
    (task.folder / "data.py").write_text(before)
    assert Study.open(tmp_path / "s").config.task_id == task.task_id


def test_a_reserved_task_is_looked_at_too(tmp_path: Path, task: Task) -> None:
    away = HeldOutTask(task=reference(task), task_id=task.task_id, run_budget=1.2)
    study = study_on(tmp_path / "s", Task.load(BLOBS), 1.2, held_out=[away])
    assert held_out_tasks(study)[0].task.task_id == task.task_id
    assert Study.open(tmp_path / "s").config == study.config
    change(task)
    with pytest.raises(NotComparable, match="is now t"):
        held_out_tasks(study)
    with pytest.raises(NotComparable, match="is now t"), Trainers(study.folder, study.config) as trainers:
        trainers.at(task.task_id)


def test_public_data_are_told_of(tmp_path: Path, task: Task) -> None:
    away = HeldOutTask(task=reference(task), task_id=task.task_id, run_budget=1.2)
    study = study_on(tmp_path / "s", Task.load(BLOBS), 1.2, held_out=[away])
    assert public_lines(study) == [public_line(task)] and public_line(task).startswith(f"{task.name}: ")
    assert public_line(study.task) == ""
