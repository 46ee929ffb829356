"""A study in the tools that teams keep their results in, each read again by the tool's own client."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from analysis.statistics import Estimate
from analysis.study import open_study
from analysis.trackers import TrackedRun, known, to_trackio, to_wandb, tracked, verdict_fields
from analysis.verdict.caveats import Caveat
from analysis.verdict.decision import Compared, Decision
from analysis.verdict.verdict import decided
from analysis.views.tables import rows, statement
from bench.simulated_tasks import random_law, simulated_task
from meta.cli.main import run
from tests.meta.cli_study import metaloop

VERDICT: dict[str, str | float] = {
    "winner": "lab",
    "headline": "lab beats stock",
    "difference": 1.0,
    "p": 0.001,
    "study_name": "s",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("tracked")
    task = simulated_task(random_law(2), root / "law", experiments=6)
    metaloop("match", "stock", "idea-queue", "-t", task, "-s", root / "s", "-n", "2", "--yes")
    return root / "s"


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WANDB_MODE", "TRACKIO_DIR"):
        monkeypatch.delenv(name, raising=False)


def wandb_records(raw: bytes) -> Iterator[Any]:
    """The records of a .wandb file, which the client has no public reader for: a header of seven bytes, then the log
    format of LevelDB (blocks of 32 KiB; each part has a checksum, its length and its type)."""
    from wandb.proto import wandb_internal_pb2

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
            yield wandb_internal_pb2.Record.FromString(whole)
            whole = b""


def assert_in_wandb(expected: TrackedRun, path: Path) -> None:
    """That the file has the whole run, as its summary, its configuration, its steps in order and its exit code."""

    def values(items: Any) -> dict[str, Any]:
        return {item.key or item.nested_key[0]: json.loads(item.value_json) for item in items}

    config: dict[str, Any] = {}
    summary: dict[str, Any] = {}
    steps, codes = [], []
    for record in wandb_records(path.read_bytes()):
        config |= values((*record.run.config.update, *record.config.update))
        summary |= values(record.summary.update)
        steps += [history] if (history := values(record.history.item)) else []
        codes += [record.exit.exit_code] if record.WhichOneof("record_type") == "exit" else []
    assert summary.items() >= expected.summary.items() and config.items() >= expected.config.items()
    assert codes == [0 if expected.succeeded else 1] and len(steps) == len(expected.steps)
    for step, found in zip(expected.steps, steps, strict=True):
        assert found["_timestamp"] == pytest.approx(step.at)
        assert found.items() >= step.values.items()


@pytest.mark.slow
def test_wandb_project_has_every_run_and_the_verdict(folder: Path, tmp_path: Path) -> None:
    command = ["export", str(folder), "--to", "wandb", "-o", str(tmp_path), "--json"]
    result, runs = metaloop(*command).json, tracked(folder)
    assert (result["runs"], result["experiments"]) == (len(runs), sum(len(run.steps) for run in runs))
    assert run(command) == 2  # the project exists
    going = replace(runs[0], run_id="r2", succeeded=False)
    verdict = TrackedRun("verdict", "verdict", "verdict", {"study": "y", **VERDICT}, (), VERDICT)
    more = [going, verdict]
    to_wandb(more, "more", tmp_path)
    import_module("wandb").teardown()  # as at the end of a process: everything is written
    found = {path.stem.removeprefix("run-"): path for path in tmp_path.glob("*/wandb/offline-run-*/run-*.wandb")}
    assert found.keys() == {expected.run_id for expected in (*runs, *more)}
    for expected in (*runs, *more):
        assert_in_wandb(expected, found[expected.run_id])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_trackio_project_has_every_run_and_the_verdict(folder: Path, tmp_path: Path) -> None:
    verdict = TrackedRun("verdict", "verdict", "verdict", {"study": "y", **VERDICT}, (), VERDICT)
    runs = [*tracked(folder), verdict]
    to_trackio(runs, "s", tmp_path)
    from trackio.sqlite_storage import SQLiteStorage

    for expected in runs:
        *steps, last = SQLiteStorage.get_logs("s", expected.name)
        assert last.items() >= expected.summary.items() and len(steps) == len(expected.steps)
        for step, found in zip(expected.steps, steps, strict=True):
            assert found.items() >= step.values.items()


def test_short_trainings_have_a_curve_that_begins_at_baseline(folder: Path) -> None:
    steps = [(1.0, "baseline", 1), (0.1, "screen", 0.25), (0.9, "keep", 1), (0.95, "keep", 1), (0.8, "discard", 1),
             (float("inf"), None, 1)]  # fmt: skip
    with open_study(folder, views=()) as con:
        con.execute("DELETE FROM experiments WHERE run_id <> (SELECT min(run_id) FROM runs) OR number >= 6")
        for number, (metric, decision, fraction) in enumerate(steps):
            con.execute(
                "UPDATE experiments SET metric = ?, gain = ?, decision = ?, fraction = ? WHERE number = ?",
                [metric, 1 - metric, decision, fraction, number],
            )
        found = rows(con.execute(statement("other/tracked_runs")))
        con.execute("UPDATE runs SET state = 'running'")
        (going,) = [row["steps"] for row in rows(con.execute(statement("other/tracked_runs"))) if row["steps"]]
    (row,) = [row for row in found if row["steps"]]
    values = [known(step["values"]) for step in row["steps"]]
    assert [step.get("metric") for step in values] == [1.0, None, 0.9, 0.95, 0.8, None]
    assert [step.get("metric_screening") for step in values] == [None, 0.1, None, None, None, None]
    assert [step["best_metric"] for step in values] == [1.0, 1.0, 0.9, 0.9, 0.9, 0.9]
    assert [step["best_gain"] for step in values] == pytest.approx([0, 0, 0.1, 0.1, 0.1, 0.1])
    assert [step["kept"] for step in values] == [0, 0, 1, 1, 0, 0]
    assert row["figures"]["best_step"] == 2
    assert len(going) == 5  # what a later record changes is not sent


def test_the_two_arms_of_stock_have_runs_of_different_names(folder: Path) -> None:
    names = {(run.config["role"], run.name.rpartition(" ")[0]) for run in tracked(folder)}
    assert any(("a/a", f"{name} (A/A)") in names for role, name in names if role == "program")


@pytest.mark.parametrize("client", [None, SimpleNamespace(Settings=SimpleNamespace)])
def test_client_that_is_missing_or_fails_is_one_line(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, client: Any
) -> None:
    def init(**_: object) -> None:
        raise OSError("no answer of https://me:pw@host/x\nTraceback")

    if client:
        client.init = init
    monkeypatch.setitem(sys.modules, "wandb", client)
    message = metaloop("export", folder, "--to", "wandb", "-o", tmp_path / "w", code=1 if client else 2).stderr
    expected = "wandb: no answer of https://host/x" if client else "pip install -c constraints.txt '.[wandb]'"
    assert expected in message and "pw" not in message and "Traceback" not in message


def test_verdict_has_its_numbers_and_every_caveat() -> None:
    decision = Decision(
        "better", "lab", "nats", (), Estimate(1.0), Compared("stock", Estimate(0.5), Estimate(0.5), 2.0), 0.001,
        trust="unverified",
    )  # fmt: skip
    fields = verdict_fields(replace(decided(decision), caveats=(Caveat("stop", "Weak trust", "No sandbox."),)))
    numbers = {key: value for key, value in fields.items() if isinstance(value, float)}
    assert numbers == {"gain": 1.0, "reference_gain": 0.5, "difference": 0.5, "p": 0.001, "ratio": 2.0}
    assert "lab beats stock" in str(fields["headline"]) and fields["caveats"] == "Weak trust. No sandbox."
