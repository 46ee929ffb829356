"""A study in the tools that teams keep their results in, each read again by the tool's own client."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from analysis.statistics import Mean
from analysis.trackers import TRACKERS, TrackedStudy, reading, send, tracked
from analysis.trackers.mlflow import viewer
from analysis.verdict.decision import Compared, Decision, HeldOut
from meta.cli.main import run
from meta.cli.tool_export import files_of
from tests.analysis.tracker_clients import Read, mlflow, trackio, wandb, wandb_records
from trainer.cards import freshness
from trainer.laws.planted import random_law, simulated_task


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("tracked")
    task = simulated_task(random_law(2), root / "law", experiments=6)
    assert run(["match", "stock", "idea-queue", "-t", str(task), "-s", str(root / "s"), "-n", "2", "--yes", "-q"]) == 0
    return root / "s"


def expected(study: TrackedStudy) -> Read:
    return {one.run_id: (dict(one.figures), [dict(step.values) for step in one.steps]) for one in study.runs}


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WANDB_MODE", "MLFLOW_TRACKING_URI", "TRACKIO_DIR"):
        monkeypatch.delenv(name, raising=False)


def same(seen: Read, wanted: Read) -> None:
    assert seen.keys() == wanted.keys()
    for run_id, (figures, steps) in wanted.items():
        assert seen[run_id][0] == pytest.approx(figures, rel=1e-6)
        assert len(seen[run_id][1]) == len(steps)
        for mine, theirs in zip(steps, seen[run_id][1], strict=True):
            assert theirs == pytest.approx(mine, rel=1e-6)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of SQLAlchemy, in MLflow
@pytest.mark.parametrize("read", [mlflow, wandb, trackio], ids=lambda read: read.__name__)
def test_the_client_reads_every_run_and_figure(
    folder: Path, tmp_path: Path, read: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["export", str(folder), "--to", read.__name__, "-o", str(tmp_path / "out"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    study = tracked(folder, files_of(folder))
    assert all(set(one.files()) == {"program.md", "train.py"} for one in study.runs)
    assert (told["runs"], told["experiments"]) == (len(study.runs), sum(len(one.steps) for one in study.runs))
    same(read(tmp_path / "out", study), expected(study))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("tool", ["mlflow", "wandb", "trackio"])
def test_a_project_that_has_runs_is_refused(
    folder: Path, tmp_path: Path, tool: str, capsys: pytest.CaptureFixture[str]
) -> None:
    study = tmp_path / f"twice-{tool}"  # Trackio has one database in a process
    shutil.copytree(folder, study)
    words = ["export", str(study), "--to", tool, "-o", str(tmp_path / "out"), "-q"]
    assert run(words) == 0 and run(words) == 2
    assert f"the project {study.name} already has runs" in capsys.readouterr().err
    assert run([*words, "--project", f"again-{tool}"]) == 0


def test_short_trainings_have_a_curve_of_their_own_and_best_values_begin_with_the_baseline() -> None:
    rows = [(1.0, "baseline", 1), (0.1, "screen", 0.25), (0.9, "keep", 1), (0.95, "keep", 1), (0.8, "discard", 1)]
    given = {"experiment_id": "", "status": "ok", "device_seconds_charged": 1, "config": {}, "description": ""}
    steps = [
        step.values
        for step in reading._steps(
            [
                {**given, "number": number, "metric": metric, "gain": 1 - metric, "decision": decision}
                | {"fraction": fraction, "ended_at": None}
                for number, (metric, decision, fraction) in enumerate(rows)
            ]
        )
    ]
    assert [step.get("metric") for step in steps] == [1.0, None, 0.9, 0.95, 0.8]
    assert [step.get("metric_screening") for step in steps] == [None, 0.1, None, None, None]
    assert [step["best_metric"] for step in steps] == [1.0, 1.0, 0.9, 0.9, 0.9]
    assert [step["best_gain"] for step in steps] == pytest.approx([0, 0, 0.1, 0.1, 0.1])
    assert [step["kept"] for step in steps] == [0, 0, 1, 1, 0]


def test_the_two_arms_of_stock_have_runs_of_different_names(folder: Path) -> None:
    names = {(run.settings["role"], run.name.rpartition(" ")[0]) for run in tracked(folder).runs}
    assert {("program", "stock"), ("a/a", "stock (A/A)")} <= names


def test_where_to_look_at_mlflow() -> None:
    assert viewer("http://127.0.0.1:5931") == "open http://127.0.0.1:5931"
    assert viewer("sqlite:////logs/mlflow.db").startswith("mlflow ui --backend-store-uri sqlite:////logs/mlflow.db")


def test_a_client_that_is_missing_is_named_with_its_cure(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "wandb", None)
    assert run(["export", str(tmp_path / "later"), "--to", "wandb", "-o", str(tmp_path / "w")]) == 2
    assert "pip install -c constraints.txt '.[wandb]'" in capsys.readouterr().err


def whole(study: TrackedStudy) -> TrackedStudy:
    """One run of it, and a verdict."""
    figures = {"gain": 1.5, "difference": 1.0, "low": 0.5, "high": 1.5, "p": 0.001, "ratio": 3.0, "ratio_at_least": 2.0}
    words = {
        "winner": "lab",
        "headline": "lab beats stock",
        "verdict": "Verified gain.",
        "caveat": "Weak.",
        "notes": "",
        "study_name": "s",
    }
    return replace(study, runs=study.runs[:1], note="above", verdict={**words, **figures})


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("tool", ["mlflow", "trackio", "wandb"])
def test_the_verdict_is_above_the_runs_and_a_run_that_goes_on_is_marked(
    folder: Path, tmp_path: Path, tool: str
) -> None:
    study = replace(whole(tracked(folder)), name=f"own-{tool}")
    (first,) = study.runs
    going = replace(first, run_id="r2", state="running", steps=[*first.steps[:2], replace(first.steps[2], decision="")])
    sent = list[int]()
    send(TRACKERS.get(tool)(tmp_path), replace(study, runs=[first, going]), study.name, sent.append)
    assert sent == [1, 2]
    if tool == "mlflow":
        client = import_module("mlflow").MlflowClient(tracking_uri=f"sqlite:///{tmp_path}/mlflow.db")
        experiment = client.get_experiment_by_name(study.name)
        tags = experiment.tags
        assert (tags["verdict.winner"], tags["verdict.difference"], tags["verdict.p"]) == ("lab", "1.0", "0.001")
        (live,) = client.search_runs([experiment.experiment_id], "attributes.status = 'KILLED'")
        assert [point.step for point in client.get_metric_history(live.info.run_id, "kept")] == [0, 1]
    if tool == "wandb":
        from wandb.proto import wandb_internal_pb2

        import_module("wandb").teardown()  # as at the end of a process: everything is written
        codes = {}
        for path in tmp_path.glob("*/wandb/offline-run-*/run-*.wandb"):
            raw = b"".join(data := list(wandb_records(path.read_bytes())))
            records = map(wandb_internal_pb2.Record.FromString, data)
            ends = [record.exit.exit_code for record in records if record.WhichOneof("record_type") == "exit"]
            codes[path.stem.removeprefix("run-")] = ends
            assert path.stem != "run-verdict" or (b"ratio_at_least" in raw and b"study_name" in raw)
        assert codes == {first.run_id: [0], "r2": [1], "verdict": [0]}
    if tool == "trackio":
        from trackio.sqlite_storage import SQLiteStorage

        (row,) = SQLiteStorage.get_logs(study.name, "verdict")
        assert row.items() >= whole(study).verdict.items()


def test_the_text_above_the_runs_has_held_out_tasks_and_claims_no_unseen_data_where_there_is_none(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tested = Compared("stock", Mean(0.5, 0.1, 4, 0.3, 0.7), 0.5, 0.2, 0.8, 2.0)
    far = HeldOut("far", "nats", Mean(1.64, 0.1, 4, 1.4, 1.8), tested, 0.001, True)
    decision = Decision("better", "lab", "nats", (), Mean(1.0, 0.1, 4, 0.8, 1.2), tested, 0.001, held_out=(far,))
    fields = reading._verdict(decision)
    assert "On the held-out task far it gains" in fields["verdict"]
    for kind, said in freshness.UNSEEN.items():
        assert said in reading._note("s", fields, kind)
    assert freshness.UNSEEN["split"] in tracked(folder).note
    monkeypatch.setattr(reading, "RUNS", reading.RUNS.replace("r.trust,", "NULL AS trust,"))  # no run was verified yet
    monkeypatch.setattr(reading, "STEPS", reading.STEPS.replace(" trust,", " 'self-reported' AS trust,"))
    assert freshness.UNSEEN["seeds"] in tracked(folder).note
