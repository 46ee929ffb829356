"""A study in the tools that teams keep their results in, each read again by the tool's own client."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from analysis.study import query
from analysis.trackers import TRACKERS, Sender, TrackedStudy, tracked
from meta.cli.main import run
from trainer.planted import random_law, simulated_task

Read = Mapping[str, tuple[Mapping[str, float], list[dict[str, float]]]]  # run → figures, values of its steps


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("tracked")
    task = simulated_task(random_law(2), root / "law", experiments=6)
    assert run(["match", "stock", "idea-queue", "-t", str(task), "-s", str(root / "s"), "-n", "2", "--yes", "-q"]) == 0
    return root / "s"


def expected(study: TrackedStudy) -> Read:
    return {one.run_id: (dict(one.figures), [dict(step.values) for step in one.steps]) for one in study.runs}


def tensorboard(folder: Path, study: TrackedStudy) -> Read:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    seen = {}
    for one in study.runs:
        events = EventAccumulator(str(folder / one.run_id))
        events.Reload()
        by_step: dict[int, dict[str, float]] = {}
        figures = {}
        for tag in events.Tags()["scalars"]:
            for event in events.Scalars(tag):
                if tag.startswith("run/"):
                    figures[tag.removeprefix("run/")] = event.value
                else:
                    by_step.setdefault(event.step, {})[tag] = event.value
        seen[one.run_id] = figures, [by_step[step] for step in sorted(by_step)]
    return seen


def mlflow(folder: Path, study: TrackedStudy) -> Read:
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{folder / 'mlflow.db'}")
    (experiment,) = client.search_experiments(filter_string=f"name = '{study.name}'")
    seen = {}
    for one in client.search_runs([experiment.experiment_id]):
        assert one.info.status == "FINISHED" and one.data.params["task"]
        figures = {key.removeprefix("run."): v for key, v in one.data.metrics.items() if key.startswith("run.")}
        by_step: dict[int, dict[str, float]] = {}
        for key in one.data.metrics.keys() - {f"run.{name}" for name in figures}:
            for metric in client.get_metric_history(one.info.run_id, key):
                by_step.setdefault(metric.step, {})[key] = metric.value
        seen[one.data.tags["run_id"]] = figures, [by_step[step] for step in sorted(by_step)]
    return seen


def wandb(folder: Path, study: TrackedStudy) -> Read:
    from wandb.proto import wandb_internal_pb2

    seen = {}
    for path in folder.glob("wandb/offline-run-*/*.wandb"):
        run_id, figures, steps = "", {}, []
        for data in wandb_records(path.read_bytes()):
            record = wandb_internal_pb2.Record()
            record.ParseFromString(data)
            if record.WhichOneof("record_type") == "run":
                run_id = record.run.run_id
            for item in record.summary.update:
                figures[item.key or item.nested_key[0]] = json.loads(item.value_json)
            if row := {item.key or item.nested_key[0]: json.loads(item.value_json) for item in record.history.item}:
                steps.append({key: value for key, value in row.items() if is_figure(key, value)})
        seen[run_id] = {k.removeprefix("run/"): v for k, v in figures.items() if k.startswith("run/")}, steps
    return seen


def wandb_records(raw: bytes) -> Iterator[bytes]:
    """The records of a .wandb file, which the client has no public reader for: a header of seven bytes, then the log
    format of LevelDB (blocks of 32 KiB; each part has a checksum, its length and its type)."""
    assert raw[:4] == b":W&B"
    at, whole = 7, b""
    while at + 7 <= len(raw):
        if 32768 - at % 32768 < 7:
            at += 32768 - at % 32768
            continue
        length, kind = int.from_bytes(raw[at + 4 : at + 6], "little"), raw[at + 6]
        whole += raw[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):
            yield whole
            whole = b""


def trackio(folder: Path, study: TrackedStudy) -> Read:
    from trackio.sqlite_storage import SQLiteStorage

    seen = {}
    for one in study.runs:
        figures: dict[str, float] = {}
        steps = []
        for row in SQLiteStorage.get_logs(study.name, one.run_id):
            mine = {key.removeprefix("run/"): value for key, value in row.items() if key.startswith("run/")}
            figures |= mine
            if not mine:
                steps.append({key: value for key, value in row.items() if is_figure(key, value)})
        seen[one.run_id] = figures, steps
    return seen


def optuna(folder: Path, study: TrackedStudy) -> Read:
    import optuna as client

    storage = f"sqlite:///{folder / 'optuna.db'}"
    seen = {}
    for one in study.runs:
        loaded = client.load_study(study_name=f"{study.name} {one.name}", storage=storage)
        figures = {key: value for key, value in loaded.user_attrs.items() if key in one.figures}
        trials = sorted(loaded.trials, key=lambda trial: trial.number)
        for trial, step in zip(trials, one.steps, strict=True):
            assert trial.value == step.values.get("metric") and trial.params == dict(step.config)
        steps = [{key: value for key, value in t.user_attrs.items() if is_figure(key, value)} for t in trials]
        seen[one.run_id] = figures, steps
    return seen


def is_figure(key: str, value: Any) -> bool:
    return isinstance(value, int | float) and key in ("metric", "best_metric", "gain", "device_seconds", "kept")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of SQLAlchemy, in MLflow
@pytest.mark.parametrize("read", [tensorboard, mlflow, wandb, trackio, optuna], ids=lambda read: read.__name__)
def test_the_client_reads_every_run_and_figure(
    folder: Path, tmp_path: Path, read: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("WANDB_MODE", "MLFLOW_TRACKING_URI", "TRACKIO_DIR"):
        monkeypatch.delenv(name, raising=False)
    assert run(["export", str(folder), "--to", read.__name__, "-o", str(tmp_path / "out"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    study = tracked(folder)
    assert (told["runs"], told["experiments"]) == (len(study.runs), sum(len(one.steps) for one in study.runs))
    wanted, seen = expected(study), read(tmp_path / "out", study)
    assert seen.keys() == wanted.keys()
    for run_id, (figures, steps) in wanted.items():
        assert seen[run_id][0] == pytest.approx(figures, rel=1e-6)
        assert len(seen[run_id][1]) == len(steps)
        for mine, theirs in zip(steps, seen[run_id][1], strict=True):
            assert theirs == pytest.approx(mine, rel=1e-6)


@pytest.mark.slow
def test_a_dataset_of_the_hub_is_read_by_its_library(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from datasets import load_dataset

    assert run(["export", str(folder), "--to", "hf", "-o", str(tmp_path / "hf")]) == 0
    for view in ("runs", "experiments"):
        read = load_dataset(str(tmp_path / "hf"), view, split="train", cache_dir=str(tmp_path / "cache"))
        rows = query(folder, f"SELECT * FROM {view} ORDER BY ALL")
        assert len(read) == len(rows) and set(read.column_names) == set(rows[0])
    assert not any("secret" in path.read_text("latin-1") for path in (tmp_path / "hf").iterdir())
    assert run(["export", str(folder), "--to", "hf", "-o", str(tmp_path / "hf")]) == 2
    assert "not empty" in capsys.readouterr().err


@pytest.mark.slow
def test_a_running_study_is_followed_without_sending_anything_twice(folder: Path, tmp_path: Path) -> None:
    """Step by step, as a ledger grows: what is sent in parts is what is sent at once."""
    study = tracked(folder)
    sender = Sender(TRACKERS.get("tensorboard")(study.name, tmp_path))
    for most in range(1, 8):
        parts = [
            type(one)(one.run_id, one.name, "running", "", one.settings, {}, one.steps[:most]) for one in study.runs
        ]
        sender.send(TrackedStudy(study.folder, study.name, parts))
    sender.send(study)
    sender.send(study)
    sender.tracker.close()
    assert {key: len(steps) for key, (_, steps) in tensorboard(tmp_path, study).items()} == {
        one.run_id: len(one.steps) for one in study.runs
    }


def test_following_ends_with_the_study(folder: Path, tmp_path: Path) -> None:
    import fcntl

    with (folder / "lock").open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        words = ["export", str(folder), "--to", "tensorboard", "-o", str(tmp_path / "t"), "--follow", "-q"]
        following = threading.Thread(target=run, args=(words,))
        following.start()
        time.sleep(0.5)
        assert following.is_alive()
        fcntl.flock(lock, fcntl.LOCK_UN)
        following.join(timeout=30)
    assert not following.is_alive() and tensorboard(tmp_path / "t", tracked(folder))


def test_a_client_that_is_missing_is_named_with_its_cure(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "wandb", None)
    assert run(["export", str(folder), "--to", "wandb", "-o", str(tmp_path / "w")]) == 2
    assert "pip install 'metaloop[wandb]'" in capsys.readouterr().err
