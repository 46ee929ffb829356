"""A study in the tools that teams keep their results in, each read again by the tool's own client."""

from __future__ import annotations

import shutil
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from analysis.statistics import Mean
from analysis.study import open_study
from analysis.tables import rows, statement
from analysis.trackers.mlflow import note, to_mlflow
from analysis.trackers.study import TrackedStudy, _known, _verdict, tracked
from analysis.trackers.wandb import to_trackio, to_wandb
from analysis.verdict.caveats import Caveat
from analysis.verdict.decision import Compared, Decision
from analysis.verdict.verdict import decided
from meta.cli.library.export import files_of
from meta.cli.main import run
from tests.analysis.tracker_clients import Read, mlflow, trackio, wandb, wandb_records
from tests.meta.cli_study import metaloop
from trainer.laws.planted import random_law, simulated_task

SEND = {"mlflow": to_mlflow, "trackio": to_trackio, "wandb": to_wandb}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("tracked")
    task = simulated_task(random_law(2), root / "law", experiments=6)
    metaloop("match", "stock", "idea-queue", "-t", task, "-s", root / "s", "-n", "2", "--yes")
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
def test_the_client_reads_every_run_and_figure_and_a_project_is_made_once(
    folder: Path, tmp_path: Path, read: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    given = tmp_path / f"by-{read.__name__}"  # Trackio has one database in a process
    shutil.copytree(folder, given)
    words = ["export", str(given), "--to", read.__name__, "-o", str(tmp_path / "out"), "--json"]
    told = metaloop(*words).json
    study = tracked(given)
    assert all(set(files_of(given)(one)) == {"program.md", "train.py"} for one in study.runs)
    assert (told["runs"], told["experiments"]) == (len(study.runs), sum(len(one.steps) for one in study.runs))
    same(read(tmp_path / "out", study), expected(study))
    assert run(words) in (1, 2) and "already exist" in capsys.readouterr().err


def test_short_trainings_have_a_curve_of_their_own_and_best_values_begin_with_the_baseline(folder: Path) -> None:
    steps = [(1.0, "baseline", 1), (0.1, "screen", 0.25), (0.9, "keep", 1), (0.95, "keep", 1), (0.8, "discard", 1),
             (float("inf"), None, 1)]  # fmt: skip
    with open_study(folder, views=()) as con:
        con.execute("DELETE FROM experiments WHERE run_id <> (SELECT min(run_id) FROM runs) OR number >= 6")
        for number, (metric, decision, fraction) in enumerate(steps):
            con.execute(
                "UPDATE experiments SET metric = ?, gain = ?, decision = ?, fraction = ? WHERE number = ?",
                [metric, 1 - metric, decision, fraction, number],
            )
        found = rows(con.execute(statement("tracked_runs")))
        con.execute("UPDATE runs SET state = 'running'")
        (going,) = [row["steps"] for row in rows(con.execute(statement("tracked_runs"))) if row["steps"]]
    (one,) = [row for row in found if row["steps"]]
    values = [_known(step["values"]) for step in one["steps"]]
    assert [step.get("metric") for step in values] == [1.0, None, 0.9, 0.95, 0.8, None]
    assert [step.get("metric_screening") for step in values] == [None, 0.1, None, None, None, None]
    assert [step["best_metric"] for step in values] == [1.0, 1.0, 0.9, 0.9, 0.9, 0.9]
    assert [step["best_gain"] for step in values] == pytest.approx([0, 0, 0.1, 0.1, 0.1, 0.1])
    assert [step["kept"] for step in values] == [0, 0, 1, 1, 0, 0]
    assert one["figures"]["best_step"] == 2
    assert len(going) == 5  # what a later record changes is not sent


def test_the_two_arms_of_stock_have_runs_of_different_names(folder: Path) -> None:
    names = {(run.settings["role"], run.name.rpartition(" ")[0]) for run in tracked(folder).runs}
    assert any(("a/a", f"{name} (A/A)") in names for role, name in names if role == "program")


def test_a_client_that_is_missing_is_named_with_its_cure(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "wandb", None)
    said = metaloop("export", folder, "--to", "wandb", "-o", tmp_path / "w", code=2).stderr
    assert "pip install -c constraints.txt '.[wandb]'" in said


def test_a_server_that_is_away_is_one_line_without_the_password(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:pw@127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    told = metaloop("export", folder, "--to", "mlflow", code=1).stderr
    assert "error: mlflow: " in told and "127.0.0.1" in told and "pw" not in told and "Traceback" not in told


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("tool", ["mlflow", "trackio", "wandb"])
def test_the_verdict_is_above_the_runs_and_a_run_that_goes_on_is_marked(
    folder: Path, tmp_path: Path, tool: str
) -> None:
    verdict = {"winner": "lab", "headline": "lab beats stock", "difference": 1.0, "p": 0.001, "study_name": "s"}
    study = replace(tracked(folder), name=f"own-{tool}", verdict=verdict)
    first = study.runs[0]
    going = replace(first, run_id="r2", state="running")
    SEND[tool](replace(study, runs=[first, going]), study.name, tmp_path, lambda run: {})
    if tool == "mlflow":
        client = import_module("mlflow").MlflowClient(tracking_uri=f"sqlite:///{tmp_path}/mlflow.db")
        experiment = client.get_experiment_by_name(study.name)
        tags = experiment.tags
        assert (tags["verdict.winner"], tags["verdict.difference"], tags["verdict.p"]) == ("lab", "1.0", "0.001")
        (live,) = client.search_runs([experiment.experiment_id], "attributes.status = 'KILLED'")
        assert live.data.tags["run_id"] == "r2"
    if tool == "wandb":
        from wandb.proto import wandb_internal_pb2

        import_module("wandb").teardown()  # as at the end of a process: everything is written
        codes = {}
        for path in tmp_path.glob("*/wandb/offline-run-*/run-*.wandb"):
            raw = b"".join(data := list(wandb_records(path.read_bytes())))
            records = map(wandb_internal_pb2.Record.FromString, data)
            ends = [record.exit.exit_code for record in records if record.WhichOneof("record_type") == "exit"]
            codes[path.stem.removeprefix("run-")] = ends
            assert path.stem != "run-verdict" or (b"difference" in raw and b"study_name" in raw)
        assert codes == {first.run_id: [0], "r2": [1], "verdict": [0]}
    if tool == "trackio":
        from trackio.sqlite_storage import SQLiteStorage

        (row,) = SQLiteStorage.get_logs(study.name, "verdict")
        assert row.items() >= verdict.items()


def test_a_verdict_has_its_numbers_and_every_caveat_is_above_the_runs() -> None:
    decision = Decision(
        "better", "lab", "nats", (), Mean(1.0, 0.1, 4, 0.8, 1.2),
        Compared("stock", Mean(0.5, 0.1, 4, 0.3, 0.7), 0.5, 0.2, None, 2.0), 0.001,
        trust="unverified",
    )  # fmt: skip
    fields = _verdict(replace(decided(decision), caveats=(Caveat("stop", "Weak trust", "No sandbox."),)))
    numbers = {key: value for key, value in fields.items() if isinstance(value, float)}
    assert numbers == {"gain": 1.0, "reference_gain": 0.5, "difference": 0.5, "low": 0.2, "p": 0.001, "ratio": 2.0}
    shown = note(TrackedStudy("s", "y", (), fields))
    assert "lab beats stock" in shown and "- Weak trust. No sandbox." in shown
    assert "No verdict yet" in note(TrackedStudy("s", "y", (), {}))
