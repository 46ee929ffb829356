"""What a worker elsewhere sends is of its job; folders arrive as they were sent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from arena.cluster import files
from arena.cluster.actor import lay_tasks, parts_of
from arena.cluster.executor import events_of
from arena.cluster.files import files_of, run_files, write_files
from arena.study.task_study import TaskStudy
from arena.work.executors.ray import make as on_ray
from arena.work.jobs import BaselineJob, RunJob
from inner_loop.events import Experiment, experiment_id
from programs.common.errors import EnvironmentProblem, TaskError, UsageError
from tests.events import example
from tests.studies import make_study, study_on
from tests.trainer.foreign_repos import changed, command_task
from trainer.task import Task

RUN = RunJob("r1", "m", "a", "p", "stock", "# x", 1, "selection", 1.0, "scripted", (5, 6), ("", ""), "r1")


def experiment(number: int, /, **other: Any) -> dict[str, Any]:
    event = example(Experiment, run_id="r1", experiment_id=experiment_id("r1", number), number=number)
    return event.to_record() | other


def test_event_of_another_run_or_without_its_fields_is_refused() -> None:
    for event in (
        {"kind": 3}, {"kind": "unheard of", "run_id": "r1"}, {"kind": "decision", "run_id": "r1"},
        experiment(0, run_id="r2"), experiment(0, number="first"),
    ):  # fmt: skip
        with pytest.raises(EnvironmentProblem, match="node 1 sent an event that is"):
            events_of(RUN, [experiment(0), event], "node 1")
    fault = {"kind": "fault", "run_id": None, "reason": "disk"}  # of a baseline: it belongs to no run
    assert [event.to_record()["reason"] for event in events_of(BaselineJob("selection", 1), [fault], "n")] == ["disk"]


def test_a_task_arrives_as_it_was_sent(tmp_path: Path) -> None:
    study = make_study(tmp_path / "s")
    there = lay_tasks(parts_of(study.config, study.folder, "x"), tmp_path / "there")
    assert there.task_id == Task.load(there.task).task_id and there.task.startswith(str(tmp_path / "there"))


def test_what_leads_out_of_a_task_is_not_sent(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("key")
    task = tmp_path / "task"
    (task / ".git").mkdir(parents=True)
    (task / ".git" / "config").write_text("")
    (task / "train.py").write_text("x = 1\n")
    (task / "same.py").symlink_to("train.py")
    (task / "stolen").symlink_to(tmp_path / "secret")
    assert [name for name, _, _ in files_of(task)] == ["same.py", "train.py"]
    with (task / "huge").open("wb") as huge:
        huge.truncate(65 << 20)
    with pytest.raises(TaskError, match="64 MB"):
        files_of(task)


def test_folder_comes_back_unchanged_without_logs_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = tmp_path / "run"
    (run / "logs").mkdir(parents=True)
    (run / "train.py").write_text("x = 1\n")
    (run / "train.py").chmod(0o755)
    (run / "logs" / "0001.log").write_bytes(b"x" * 4000)
    sent = run_files(run)
    write_files(sent, tmp_path / "back")
    assert run_files(tmp_path / "back") == sent and len(sent) == 2
    monkeypatch.setattr(files, "MOST_BYTES", 3000)
    assert [name for name, _, _ in run_files(run)] == ["train.py"]


@pytest.mark.parametrize("name", ["../out", "/tmp/out", "logs/../../out"])
def test_file_outside_folder_is_refused_and_nothing_is_written(tmp_path: Path, name: str) -> None:
    home = tmp_path / "runs"
    home.mkdir()
    with pytest.raises(ValueError, match="leads out"):
        write_files((("train.py", b"", False), (name, b"", False)), home / "run")
    assert list(tmp_path.iterdir()) == [home] and list(home.iterdir()) == []


def test_a_task_with_rows_is_refused_on_a_cluster(tmp_path: Path) -> None:
    command_task(tmp_path / "task", {"train.py": ""})
    task = changed(tmp_path / "task", 'kind = "printed"\n', 'kind = "printed"\nrows = "a.csv"\nn_rows = 5\n')
    study = study_on(tmp_path / "study", task)
    with pytest.raises(UsageError, match="own has values of rows"):
        on_ray(study, print, [TaskStudy(study)])
