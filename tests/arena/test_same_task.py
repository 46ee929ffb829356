"""A study goes on with the text that it was made on, and says so where that is another one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from arena.arms import Entry, enter
from arena.match import announcement
from arena.public import public_line, public_lines
from arena.settings import Reserved
from arena.setup import reference
from arena.study import Study
from arena.task_study import TaskStudy, reserved_tasks
from arena.trainers import Trainers
from programs.errors import NotComparable
from programs.shelf import starter
from tests.inner_loop.play import BLOBS
from tests.studies import study_on
from trainer import scaffold
from trainer.task import Task


@pytest.fixture
def text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("METALOOP_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "text.txt"
    path.write_text("once\n")
    return path


@pytest.fixture
def task(tmp_path: Path, text: Path) -> Task:
    folder = scaffold.init(tmp_path / "of-text")
    toml = (folder / "task.toml").read_text()
    (folder / "task.toml").write_text(toml.replace("[data]\n", f'[data]\nsource = "{text}"\npublic = true\n'))
    return Task.load(folder)


def made(folder: Path, task: Task, **more: Any) -> Study:
    return study_on(folder, task, 1.2, **more)


def test_another_text_is_refused_with_a_line_that_names_it(tmp_path: Path, task: Task, text: Path) -> None:
    made(tmp_path / "s", task)
    assert Study.open(tmp_path / "s").config.text_hash == task.text_hash
    text.write_text("twice\n")
    with pytest.raises(NotComparable, match=r"the text of task .* differs") as caught:
        Study.open(tmp_path / "s")
    assert task.text_hash in caught.value.message and str(text) in caught.value.hint
    text.write_text("once\n")
    assert Study.open(tmp_path / "s").config.task_id == task.task_id


def test_other_files_are_told_of_as_before(tmp_path: Path, task: Task) -> None:
    made(tmp_path / "s", task)
    data = task.folder / "data.py"
    data.write_text(data.read_text() + "\n")
    with pytest.raises(NotComparable, match="is now t") as caught:
        Study.open(tmp_path / "s")
    assert "text" not in caught.value.message.removeprefix(f"task {task.folder}")


def test_a_reserved_text_is_looked_at_too(tmp_path: Path, task: Task, text: Path) -> None:
    away = Reserved(task=reference(task), task_id=task.task_id, run_budget=1.2)
    study = made(tmp_path / "s", Task.load(BLOBS), reserve=[away])
    assert study.config.reserve[0].text_hash == task.text_hash and reserved_tasks(study)[0].task.text == str(text)
    assert Study.open(tmp_path / "s").config == study.config
    text.write_text("twice\n")
    with pytest.raises(NotComparable, match="the text of task"):
        reserved_tasks(study)
    with pytest.raises(NotComparable, match="the text of task"), Trainers(study.folder, study.config) as trainers:
        trainers.at(task.task_id)


def test_the_hash_of_the_text_stands_in_the_ledger(tmp_path: Path, task: Task) -> None:
    with made(tmp_path / "s", task) as study:
        match = enter(TaskStudy(study), "trial", [Entry(starter("stock"))], purpose="race", stream="search")
        told = announcement(TaskStudy(study), match)
    assert told.text_hash == task.text_hash
    begun = "".join(path.read_text() for path in (tmp_path / "s" / "ledger").iterdir())
    assert f'"text_hash":"{task.text_hash}"' in begun.replace('": "', '":"')
    with made(tmp_path / "plain", Task.load(BLOBS)) as plain:
        match = enter(plain, "t", [Entry(starter("stock"))], purpose="race", stream="search")
        assert "text_hash" not in announcement(plain, match).to_record()
    assert "text_hash" not in (tmp_path / "plain" / "study.toml").read_text()


def test_a_public_text_is_told_of(tmp_path: Path, task: Task) -> None:
    folder = scaffold.init(tmp_path / "of-modules")
    toml = (folder / "task.toml").read_text()
    (folder / "task.toml").write_text(toml.replace("[data]\n", '[data]\nsource = "stdlib"\n'))
    modules = Task.load(folder)
    away = Reserved(task=reference(modules), task_id=modules.task_id, run_budget=60.0)
    study = made(tmp_path / "s", task, reserve=[away])
    lines = public_lines(study)
    assert [line.partition(":")[0] for line in lines] == [task.name, modules.name]
    assert "standard library" in lines[1] and str(task.text) in lines[0]
    assert public_line(Task.load(BLOBS)) == ""
