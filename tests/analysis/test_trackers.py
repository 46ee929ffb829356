"""A study in the tools that teams keep their results in, each read again by the tool's own client."""

from __future__ import annotations

import fcntl
import json
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from analysis.decision import Compared, Decision
from analysis.statistics import Mean, Ratio
from analysis.study import query
from analysis.trackers import (
    TRACKERS,
    Sender,
    Step,
    TrackedRun,
    TrackedStudy,
    Tracker,
    project_for,
    reading,
    tracked,
)
from analysis.trackers.mlflow import viewer
from meta.cli.main import run
from meta.cli.output import Output
from meta.cli.tool_export import files_of, send_while_running
from programs.errors import UsageError
from tests.analysis.tracker_clients import Read, mlflow, optuna, tensorboard, trackio, wandb, wandb_records
from trainer import freshness
from trainer.planted import random_law, simulated_task


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
@pytest.mark.parametrize("read", [tensorboard, mlflow, wandb, trackio, optuna], ids=lambda read: read.__name__)
def test_the_client_reads_every_run_and_figure(
    folder: Path, tmp_path: Path, read: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["export", str(folder), "--to", read.__name__, "-o", str(tmp_path / "out"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    study = tracked(folder, files_of(folder))
    assert all(set(one.files()) == {"program.md", "train.py"} for one in study.runs)
    assert (told["runs"], told["experiments"]) == (len(study.runs), sum(len(one.steps) for one in study.runs))
    same(read(tmp_path / "out", study), expected(study))


class Growing:
    """A copy of a finished study whose ledger has only its first records, and gets a few more whenever it is read. The
    study is at work, so its lock is held, until all of them are there."""

    def __init__(self, finished: Path, folder: Path, piece: int) -> None:
        shutil.copytree(finished, folder)
        self.folder, self.piece = folder, piece
        lines = []
        for path in (folder / "ledger").glob("*.jsonl"):
            lines += [(json.loads(line)["at"], path, line) for line in path.read_bytes().splitlines(keepends=True)]
            path.unlink()
        self.lines = sorted(lines, key=lambda line: line[0])
        self.lock = (folder / "lock").open("rb")
        fcntl.flock(self.lock, fcntl.LOCK_EX)
        self.grow(5)

    def grow(self, lines: int) -> None:
        for _, path, line in self.lines[:lines]:
            with path.open("ab") as file:
                file.write(line)
            if end := json.loads(line).get("named_again_in"):
                (path.parent / end).touch()
        del self.lines[:lines]
        if not self.lines:
            self.lock.close()

    def opened(self, con: Any, ledger: Path) -> None:
        self.grow(self.piece)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("read", [tensorboard, mlflow, wandb, trackio], ids=lambda read: read.__name__)
def test_a_study_that_is_followed_is_the_same_as_one_that_is_sent_at_once(
    folder: Path, tmp_path: Path, read: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    once = tmp_path / "whole"
    shutil.copytree(folder, once)
    assert run(["export", str(once), "--to", read.__name__, "-o", str(tmp_path / "once")]) == 0
    growing = Growing(folder, tmp_path / "growing", 6)
    monkeypatch.setattr("analysis.study.opened", growing.opened)
    monkeypatch.setattr("meta.cli.tool_export.FOLLOW_SECONDS", 0)
    words = ["export", str(growing.folder), "--to", read.__name__, "-o", str(tmp_path / "followed"), "--follow"]
    assert run(words) == 0 and not growing.lines
    assert "sent so far" in capsys.readouterr().err
    whole = tracked(growing.folder, files_of(growing.folder))
    assert all(one.figures["verified_seeds"] == 2 and len(one.steps) > 3 for one in whole.runs)
    same(read(tmp_path / "followed", whole), expected(whole))
    same(read(tmp_path / "followed", whole), read(tmp_path / "once", tracked(once, files_of(once))))


class Recorder(Tracker):
    """What a tool would have been told, in order."""

    where = ""

    def __init__(self) -> None:
        self.told: list[tuple[str, Any]] = []

    def start(self, run: TrackedRun) -> None:
        self.told.append(("start", run.run_id))

    def log(self, run: TrackedRun, steps: Sequence[Step]) -> None:
        self.told += [(run.run_id, step) for step in steps]

    def end(self, run: TrackedRun) -> None:
        self.told.append(("end", dict(run.figures)))

    def close(self) -> None: ...


def test_a_run_is_ended_once_with_all_its_verifications(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    growing = Growing(folder, tmp_path / "growing", 4)
    monkeypatch.setattr("analysis.study.opened", growing.opened)
    sender = Sender(Recorder())
    while growing.lines:
        sender.send(tracked(growing.folder), last=False)
    told = sender.tracker.told
    assert [what["verified_seeds"] for kind, what in told if kind == "end"] == [2] * len(sender.sent)
    steps = {one.run_id: list(one.steps) for one in tracked(growing.folder).runs}
    assert {key: [step for kind, step in told if kind == key] for key in steps} == steps
    before = len(told)
    sender.send(tracked(growing.folder))
    assert len(told) == before


def test_a_run_that_changes_after_its_end_is_sent_again(folder: Path) -> None:
    study = tracked(folder)
    first = study.runs[0]
    sender = Sender(Recorder())
    fewer = replace(first, steps=first.steps[:3], figures={})
    sender.send(replace(study, runs=[fewer]))
    sender.send(replace(study, runs=[first]))
    told = sender.tracker.told
    assert [kind for kind, _ in told if kind in ("start", "end")] == ["start", "end"] * 2
    assert [step for kind, step in told if kind == first.run_id] == list(first.steps)
    assert told[-1] == ("end", dict(first.figures))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_mlflow_updates_the_runs_that_it_has(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    growing = Growing(folder, tmp_path / "growing", 0)
    growing.grow(len(growing.lines) // 2)
    words = ["export", str(growing.folder), "--to", "mlflow", "-o", str(tmp_path / "out")]
    assert run(words) == 0
    client = import_module("mlflow").MlflowClient(f"sqlite:///{tmp_path}/out/mlflow.db")
    live = client.search_runs(["1"], "attributes.status = 'KILLED' and tags.study_name = 'growing'")
    assert live  # they were open when it was sent
    growing.grow(len(growing.lines))
    assert run(words) == 0
    starts, start = [], type(TRACKERS.get("mlflow")(tmp_path / "out")).start
    monkeypatch.setattr("analysis.trackers.mlflow.Mlflow.start", lambda *one: (starts.append(one), start(*one)))
    capsys.readouterr()
    assert run(words) == 0 and not starts  # it has them as they are
    whole = tracked(growing.folder, files_of(growing.folder))
    same_runs = f"sent 0 runs with 0 experiments; {len(whole.runs)} runs unchanged since the last export"
    assert same_runs in capsys.readouterr().err
    same(mlflow(tmp_path / "out", whole), expected(whole))


@pytest.mark.slow
@pytest.mark.parametrize("tool", ["wandb", "trackio", "tensorboard"])
def test_a_folder_that_cannot_be_updated_is_refused(
    folder: Path, tmp_path: Path, tool: str, capsys: pytest.CaptureFixture[str]
) -> None:
    study = tmp_path / f"twice-{tool}"  # Trackio has one database in a process
    shutil.copytree(folder, study)
    words = ["export", str(study), "--to", tool, "-o", str(tmp_path / "out"), "-q"]
    assert run(words) == 0 and run(words) == 2
    told = capsys.readouterr().err
    assert f"already has runs of {study.name}" in told
    (place,) = re.findall(r"rm -r (\S+)", told)
    subprocess.run(["rm", "-r", place], check=True)
    assert run(words) == 0


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


@pytest.mark.slow
def test_following_waits_for_the_study(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("meta.cli.tool_export.FOLLOW_SECONDS", 0.05)
    words = ["export", str(tmp_path / "later"), "--to", "tensorboard", "-o", str(tmp_path / "t"), "--follow"]
    following = threading.Thread(target=run, args=(words,))
    following.start()
    told = ""
    while "waiting for the study" not in told and following.is_alive():
        told += capsys.readouterr().err
    assert following.is_alive()
    shutil.copytree(folder, tmp_path / "arriving")
    (tmp_path / "arriving").rename(tmp_path / "later")
    following.join(timeout=500)
    assert not following.is_alive() and tensorboard(tmp_path / "t", tracked(tmp_path / "later"))
    told += capsys.readouterr().err
    assert told.count("waiting for the study") == 1 and f"sent {len(tracked(folder).runs)} runs" in told


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


def is_claimed(target: Path) -> bool:
    """Whether an export is writing there."""
    for lock in target.glob(".*.lock"):
        with lock.open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
    return False


def test_following_ends_with_the_study(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with (folder / "lock").open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        words = ["export", str(folder), "--to", "tensorboard", "-o", str(tmp_path / "t"), "--follow", "-q"]
        following = threading.Thread(target=run, args=(words,))
        following.start()
        while not is_claimed(tmp_path / "t") and following.is_alive():
            time.sleep(0.01)
        assert run(words[:-2]) == 2 and "another export is writing" in capsys.readouterr().err
        assert following.is_alive()
        fcntl.flock(lock, fcntl.LOCK_UN)
        following.join(timeout=500)
    assert not following.is_alive() and tensorboard(tmp_path / "t", tracked(folder))
    assert run(words[:-2]) == 2 and "delete them first" in capsys.readouterr().err
    assert not list((tmp_path / "t").glob(".*.lock"))


def test_a_client_that_is_missing_is_named_with_its_cure(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "wandb", None)
    assert run(["export", str(tmp_path / "later"), "--to", "wandb", "-o", str(tmp_path / "w"), "--follow"]) == 2
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


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(
    "tool",
    ["optuna", "tensorboard", *(pytest.param(tool, marks=pytest.mark.slow) for tool in ("mlflow", "trackio", "wandb"))],
)
def test_another_study_never_gets_into_a_project(
    folder: Path, tmp_path: Path, tool: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path
    study = replace(whole(tracked(folder)), name=f"own-{tool}")
    runs = [replace(one, settings={**one.settings, "study": "0123456789ab"}) for one in study.runs]
    other = replace(study, study_id="0123456789ab", runs=runs)
    assert study.study_id and {one.settings["study"] for one in study.runs} == {study.study_id}

    def fresh() -> Tracker:
        return TRACKERS.get(tool)(place)

    for each, project in ((study, study.name), (other, f"{study.name}-0123456")):
        tracker = fresh()
        assert project_for(tracker, each, None) == project
        tracker.begin(project, each.study_id)
        Sender(tracker).send(each)
        tracker.close()
    with pytest.raises(UsageError, match="runs of another study"):
        project_for(fresh(), other, study.name)
    if tool == "mlflow":
        client = __import__("mlflow").MlflowClient(tracking_uri=f"sqlite:///{place}/mlflow.db")
        client.create_run(client.create_experiment("mine"))
        tags = client.get_experiment_by_name(study.name).tags
        assert (tags["verdict.winner"], tags["verdict.difference"], tags["verdict.p"]) == ("lab", "1.0", "0.001")
        tracker = fresh()
        tracker.begin(study.name, study.study_id)
        tracker.conclude({"winner": "none"})
        tags = client.get_experiment_by_name(study.name).tags
        assert {key: value for key, value in tags.items() if key.startswith("verdict.") and value} == {
            "verdict.winner": "none"
        }
        with pytest.raises(UsageError, match="mine has runs that are not Metaloop's"):
            project_for(fresh(), study, "mine")
    if tool in ("mlflow", "optuna"):
        assert [project_for(fresh(), each, None) for each in (study, other)] == [study.name, f"{study.name}-0123456"]
    if tool == "tensorboard":
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        events = EventAccumulator(str(place / study.name / "verdict"))
        events.Reload()
        assert events.Scalars("verdict/ratio")[0].value == 3
        assert b"lab beats stock" in events.Tensors("verdict/text_summary")[0].tensor_proto.string_val[0]
    if tool == "wandb":
        __import__("wandb").teardown()  # as at the end of a process: everything is written
        paths = place.glob("*/wandb/offline-run-*/run-verdict*.wandb")
        written = [b"".join(wandb_records(path.read_bytes())) for path in paths]
        assert written and all(b"ratio_at_least" in raw and b"study_name" in raw for raw in written)
        tracker, resumed = fresh(), SimpleNamespace(summary={"p": 0.2, "low": 0.1, "_step": 1}, finish=lambda: None)
        monkeypatch.setattr(tracker, "_init", lambda *_: resumed)  # as the service gives it: offline nothing is resumed
        tracker.conclude({"winner": "none", "p": 0.3})
        assert resumed.summary == {"winner": "none", "p": 0.3, "_step": 1}
    if tool == "trackio":
        from trackio.sqlite_storage import SQLiteStorage

        (row,) = SQLiteStorage.get_logs(study.name, "verdict")
        assert row.items() >= whole(study).verdict.items()


@pytest.mark.slow
def test_an_interrupted_follow_says_how_to_start_again_and_its_runs_are_killed(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from wandb.proto import wandb_internal_pb2

    def interrupted(sender: Sender, study: TrackedStudy, *, last: bool = True) -> None:
        going = replace(study.runs[0], state="running")
        sender.tracker.start(going)
        sender.sent[going.run_id] = set()
        raise KeyboardInterrupt

    monkeypatch.setattr(Sender, "send", interrupted)
    assert run(["export", str(folder), "--to", "wandb", "-o", str(tmp_path / "out"), "--follow"]) == 130
    told = capsys.readouterr().err
    kept = f"{tmp_path}/out/{folder.name}"
    command = f"metaloop export {folder} --to wandb -o {tmp_path}/out --follow"
    assert told.endswith(f"interrupted after 1 run with 0 experiments\nnext:\n  rm -r {kept}\n  {command}\n")
    (path,) = tmp_path.glob(f"out/{folder.name}/wandb/offline-run-*/*.wandb")
    codes, config = [], {}
    for data in wandb_records(path.read_bytes()):
        record = wandb_internal_pb2.Record.FromString(data)
        codes += [record.exit.exit_code] if record.WhichOneof("record_type") == "exit" else []
        config |= {item.key or item.nested_key[0]: json.loads(item.value_json) for item in record.config.update}
    assert codes == [1] and config["state"] == "killed"


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_end_of_a_stopped_study_says_how_to_go_on(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    growing = Growing(folder, tmp_path / "growing", 0)
    growing.grow(len(growing.lines) // 2)
    growing.lock.close()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/m.db")
    monkeypatch.chdir(tmp_path)  # where MLflow then puts files
    monkeypatch.setattr("meta.cli.tool_export.PROGRESS_SECONDS", 0)
    assert run(["export", str(growing.folder), "--to", "mlflow"]) == 0  # the address is enough
    told, again = capsys.readouterr().err, f"MLFLOW_TRACKING_URI=sqlite:///{tmp_path}/m.db metaloop export growing"
    assert f"to go on:\nnext:\n  metaloop match --resume growing\n  {again} --to mlflow\n" in told
    assert "sending growing: 2 of" in told


@pytest.mark.parametrize("resumed", [True, False])
def test_following_a_stopped_study_waits_for_it_to_be_resumed(
    folder: Path, tmp_path: Path, resumed: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("meta.cli.tool_export.FOLLOW_SECONDS", 0)
    monkeypatch.setattr("meta.cli.tool_export.RESUME_SECONDS", 60 if resumed else 5)
    growing = Growing(folder, tmp_path / "growing", 0)
    growing.grow(len(growing.lines) // 2)
    fcntl.flock(growing.lock, fcntl.LOCK_UN)
    if not resumed:
        growing.lock.close()
    words = ["export", str(growing.folder), "--to", "tensorboard", "-o", str(tmp_path / "t"), "--follow"]
    following = threading.Thread(target=run, args=(words,))
    following.start()
    told = ""
    while "stopped; waiting" not in told and following.is_alive():
        told += capsys.readouterr().err
    if resumed:
        fcntl.flock(growing.lock, fcntl.LOCK_EX)
        time.sleep(0.5)
        growing.grow(len(growing.lines))
    following.join(timeout=500)
    told += capsys.readouterr().err
    assert not following.is_alive() and told.count("stopped; waiting") == 1
    assert ("stopped before its end" in told) is not resumed
    assert not resumed or f"sent {len(tracked(folder).runs)} runs" in told


def test_a_study_that_is_resumed_while_its_ledger_is_read_is_followed(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("meta.cli.tool_export.FOLLOW_SECONDS", 0)
    study, at_work = tracked(folder), [False, True, False]
    states = iter(["running", "finished"])
    monkeypatch.setattr("meta.cli.tool_export.running", lambda _: at_work.pop(0))
    monkeypatch.setattr("meta.cli.tool_export.state_of", lambda _: next(states))
    send_while_running(Output(quiet=True), folder, Sender(Recorder()), lambda: study)
    assert not at_work and next(states, "none left") == "none left"


def test_a_follower_that_saw_the_stop_waits_like_one_that_starts_after_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("meta.cli.tool_export.FOLLOW_SECONDS", 0)
    monkeypatch.setattr("meta.cli.tool_export.REMARK_SECONDS", 1e6)
    clock, read = iter(range(1, 1000, 5)), tracked(folder)
    monkeypatch.setattr("meta.cli.tool_export.time.monotonic", lambda: next(clock))
    for begun in (True, False):
        at_work = iter([*[True] * begun, False])
        monkeypatch.setattr("meta.cli.tool_export.running", lambda _, left=at_work: next(left, False))
        monkeypatch.setattr("meta.cli.tool_export.state_of", lambda _: "stopped")
        before = next(clock)
        send_while_running(Output(), folder, Sender(Recorder()), lambda: read)
        assert 60 <= next(clock) - before <= 90
        assert capsys.readouterr().err.count("stopped; waiting 60 s for it to be resumed") == 1


def test_the_text_above_the_runs_has_held_out_tasks_and_claims_no_unseen_data_where_there_is_none(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mean = {"mean": 1.0, "se": 0.1, "n": 4, "low": 0.8, "high": 1.2}
    there = {"champion": {**mean, "mean": 1.64}, "stock": mean, "difference": 0.64, "low": 0.5, "high": 0.8,
             "ratio": {"ratio": 1.64, "lower": 1.3}}  # fmt: skip
    on: Any = {"task": "far", "unit": "nats", "claim": there, "p_adjusted": 0.001, "holds": True}
    decision = Decision(
        "better", "lab", "nats", (), Mean(1.0, 0.1, 4, 0.8, 1.2),
        Compared("stock", Mean(0.5, 0.1, 4, 0.3, 0.7), 0.5, 0.2, 0.8, Ratio(2.0, 1.5, 0.95, 4, 4)), 0.001,
    )  # fmt: skip
    fields = reading._verdict(decision, [on])
    assert "On the held-out task far, the champion also beats stock" in fields["notes"]
    assert "The champion gains 2.00 times as much as stock" in str(fields["notes"])
    for kind, said in freshness.UNSEEN.items():
        assert said in reading._note("s", fields, kind)
    assert freshness.UNSEEN["split"] in tracked(folder).note
    monkeypatch.setattr(reading, "RUNS", reading.RUNS.replace("r.trust,", "NULL AS trust,"))  # no run was verified yet
    monkeypatch.setattr(reading, "STEPS", reading.STEPS.replace(" trust,", " 'self-reported' AS trust,"))
    assert freshness.UNSEEN["seeds"] in tracked(folder).note


def test_an_interrupted_query_is_an_interruption(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: Any) -> None:
        raise RuntimeError("Query interrupted")

    monkeypatch.setattr("analysis.trackers.tracked", interrupted)
    assert run(["export", str(folder), "--to", "tensorboard", "-o", str(tmp_path / "t"), "--follow"]) == 130
    assert "unexpected" not in capsys.readouterr().err
