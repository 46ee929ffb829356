"""Reads what was exported to a tool again, with the tool's own client."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from analysis.trackers.study import TrackedStudy

Read = Mapping[str, tuple[Mapping[str, float], list[dict[str, float]]]]  # run → figures, values of its steps
VALUES = ("metric", "metric_screening", "best_metric", "best_gain", "gain", "gain_screening", "device_seconds", "kept")


def mlflow(folder: Path, study: TrackedStudy) -> Read:
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{folder / 'mlflow.db'}")
    (experiment,) = client.search_experiments(filter_string=f"name = '{study.name}'")
    assert study.name in experiment.tags["mlflow.note.content"]
    seen = {}
    given = {one.run_id: one for one in study.runs}
    found = client.search_runs([experiment.experiment_id])
    assert len(found) == len(given)
    for one in found:
        run = given[one.data.tags["run_id"]]
        assert one.info.status == "FINISHED" and one.data.params == {k: str(v) for k, v in run.settings.items()}
        assert (one.info.start_time, one.info.end_time) == (milliseconds(run.started), milliseconds(run.ended))
        assert one.data.tags.items() >= run.facts.items()
        files = {item.path for item in client.list_artifacts(one.info.run_id)}
        assert files == {"program.md", "train.py", "experiments.json"}
        figures = {key.removeprefix("run."): v for key, v in one.data.metrics.items() if key.startswith("run.")}
        by_step: dict[int, dict[str, float]] = {}
        for key in one.data.metrics.keys() - {f"run.{name}" for name in figures}:
            history = client.get_metric_history(one.info.run_id, key)
            assert len({metric.step for metric in history}) == len(history)
            for metric in history:
                by_step.setdefault(metric.step, {})[key] = metric.value
                assert metric.timestamp == milliseconds(run.steps[metric.step].at)
        seen[one.data.tags["run_id"]] = figures, [by_step[step] for step in sorted(by_step)]
    return seen


def wandb(folder: Path, study: TrackedStudy) -> Read:
    from wandb.proto import wandb_internal_pb2

    seen: dict[str, tuple[dict[str, float], list[dict[str, float]]]] = {}
    given = {one.run_id: one for one in study.runs}
    for path in sorted(folder.glob(f"{study.name}/wandb/offline-run-*/*.wandb")):
        config: dict[str, Any] = {}
        figures, steps = seen.setdefault(path.stem.removeprefix("run-"), ({}, []))
        for data in wandb_records(path.read_bytes()):
            record = wandb_internal_pb2.Record()
            record.ParseFromString(data)
            for item in (*record.run.config.update, *record.config.update):
                config[item.key or item.nested_key[0]] = json.loads(item.value_json)
            for item in record.summary.update:
                if (key := item.key or item.nested_key[0]).startswith("run/"):
                    figures[key.removeprefix("run/")] = json.loads(item.value_json)
            if row := {item.key or item.nested_key[0]: json.loads(item.value_json) for item in record.history.item}:
                assert row["_timestamp"] == pytest.approx(given[path.stem.removeprefix("run-")].steps[len(steps)].at)
                steps.append({key: value for key, value in row.items() if is_figure(key, value)})
        run = given[path.stem.removeprefix("run-")]
        assert config.items() >= {**run.settings, **run.facts}.items()
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
        for row in SQLiteStorage.get_logs(study.name, one.name):
            mine = {key.removeprefix("run/"): value for key, value in row.items() if key.startswith("run/")}
            figures |= mine
            if not mine:
                steps.append({key: value for key, value in row.items() if is_figure(key, value)})
        seen[one.run_id] = figures, steps
    return seen


def milliseconds(at: float | None) -> int:
    assert at is not None
    return int(1000 * at)


def is_figure(key: str, value: Any) -> bool:
    return isinstance(value, int | float) and key in VALUES
