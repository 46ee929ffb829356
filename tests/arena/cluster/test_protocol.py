"""What a worker elsewhere sends is written once; folders arrive as they were sent."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from arena.cluster import files
from arena.cluster.actor import lay_tasks, parcel_of
from arena.cluster.executor import JobRecord
from arena.cluster.files import files_of, run_files, write_files
from arena.cluster.worker import Link
from arena.study.task_study import TaskStudy
from arena.work.executors.ray import make as on_ray
from arena.work.jobs import BaselineJob, RunJob
from inner_loop.events import Event, Experiment, RunEndedEvent, RunStartedEvent, experiment_id
from programs.common.errors import TaskError, UsageError
from tests.events import example
from tests.studies import make_study, study_on
from tests.trainer.foreign_repos import changed, command_task
from trainer.task import Task

RUN = RunJob("r1", "m", "a", "p", "stock", "# x", 1, "selection", 1.0, "scripted", (5, 6), ("", ""), "r1")


def experiment(number: int, /, **other: Any) -> dict[str, Any]:
    event = example(Experiment, run_id="r1", experiment_id=experiment_id("r1", number), number=number)
    return event.to_record() | other


def other(kind: type[Event], **given: Any) -> dict[str, Any]:
    return example(kind, run_id="r1", **given).to_record()


def test_events_are_written_once() -> None:
    record = JobRecord(RUN)
    assert record.take(other(RunStartedEvent)) is not None
    assert record.take(other(RunStartedEvent)) is None  # of a second worker
    assert record.take(experiment(0)) is not None and record.take(experiment(1)) is not None
    assert record.take(experiment(1)) is None
    assert [getattr(event, "number", None) for event in record.run.recorded] == [0, 1]
    assert record.take(other(RunEndedEvent, state="stopped")) is not None
    assert record.take(other(RunEndedEvent, state="finished")) is not None
    assert record.take(other(RunEndedEvent, state="finished")) is None


@pytest.mark.parametrize(
    "event",
    [
        {"kind": 3}, {"kind": "unheard of", "run_id": "r1"}, {"kind": "decision", "run_id": "r1"},
        experiment(0, run_id="r2"), experiment(0, number="first"),
    ],
)  # fmt: skip
def test_an_event_of_another_run_or_without_its_fields_is_refused(event: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        JobRecord(RUN).take(event)


def test_a_fault_of_a_baseline_is_written() -> None:
    record = JobRecord(BaselineJob("selection", 1))
    assert record.take({"kind": "fault", "run_id": None, "reason": "disk"}) is not None


def test_a_worker_goes_on_once_its_event_is_written(tmp_path: Path) -> None:
    up, down = tmp_path / "up", tmp_path / "down"
    down.write_text('{"stop": false}\n{"stop": true}\n')
    with up.open("w") as channel, down.open() as answers:
        link = Link(channel, answers)
        link.append({"kind": "decision", "value": float("nan")}, sync=False)
        link.append({"kind": "experiment"})
        assert not link.stopping()  # as of a moment ago
        link.append({"kind": "experiment"})
        assert link.stopping()
        link.send({"progress": {}})
    told = [json.loads(line) for line in up.read_text().splitlines()]
    assert [(one["event"]["kind"], one["wait"]) for one in told] == [
        ("decision", False), ("experiment", True), ("experiment", True),
    ]  # fmt: skip
    assert told[0]["event"]["value"] is None


def test_a_task_arrives_as_it_was_sent(tmp_path: Path) -> None:
    study = make_study(tmp_path / "s")
    there = lay_tasks(parcel_of(study.config, study.folder, "x"), tmp_path / "there")
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


def test_a_folder_comes_back_as_it_was_without_logs_that_are_too_large(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
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
def test_a_file_that_leads_out_of_the_folder_is_refused_and_nothing_is_written(tmp_path: Path, name: str) -> None:
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
