"""Exports are read back by other tools with nothing lost; rows for training are whole, with no keys."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import duckdb
import pytest

from analysis.export import Format, add_written, clean, write
from analysis.statistics import Estimate
from analysis.study import VIEWS, open_study
from analysis.trackers import TrackedRun, known, to_trackio, to_wandb, tracked, verdict_fields
from analysis.verdict.caveats import Caveat
from analysis.verdict.decision import Compared, Decision
from analysis.verdict.verdict import decided
from analysis.views.tables import rows, statement
from bench.simulated_tasks import random_law, simulated_task
from meta.cli.main import run
from programs.common.errors import EnvironmentProblem, UsageError
from programs.common.text import no_formula
from tests.meta.cli_study import metaloop


def test_every_view_in_every_format(small_study: Path, tmp_path: Path) -> None:
    formats: list[Format] = ["tsv", "csv", "parquet", "jsonl"]
    with open_study(small_study) as con:
        plain = {view: rows(con.execute(f"FROM {view}")) for view in VIEWS}
        json.dumps(plain, allow_nan=False)
        written = {to: [write(con, view, tmp_path / to / f"{view}.{to}", to) for view in VIEWS] for to in formats}
    truth = plain["experiments"]
    paths: dict[str, Path] = {to: next(path for path in written[to] if path.stem == "experiments") for to in formats}
    for to, delimiter in (("tsv", "\t"), ("csv", ",")):
        with paths[to].open(newline="") as file:
            found = list(csv.DictReader(file, delimiter=delimiter))
        assert [row["diff"] for row in found] == [no_formula(str(row["diff"] or "")) for row in truth]
        assert json.loads(found[1]["edit"]) == truth[1]["edit"] and json.loads(found[1]["directive_ids"]) == []
    assert json.loads(paths["jsonl"].read_text().splitlines()[1])["edit"] == truth[1]["edit"]
    read = duckdb.sql(f"SELECT metric FROM '{paths['parquet']}'").fetchall()
    assert [metric for (metric,) in read] == [row["metric"] for row in truth]


def test_a_pipe_is_written_to_and_stays(small_study: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    reader = subprocess.Popen(["cat", tmp_path / "pipe"], stdout=subprocess.PIPE)
    with open_study(small_study, views=["runs"]) as con:
        write(con, "runs", tmp_path / "pipe", "csv")
    told, _ = reader.communicate(timeout=200)
    assert told.startswith(b"run_id,") and (tmp_path / "pipe").is_fifo()


def test_bad_exports_are_one_line(small_study: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with open_study(small_study, views=()) as con:
        with pytest.raises(UsageError, match="unknown format 'xls'"):
            write(con, "runs", tmp_path / "out", "xls")  # type: ignore[arg-type]
        with pytest.raises(UsageError, match="no view 'runz'"):
            write(con, "runz", tmp_path / "out", "csv")
        with pytest.raises(EnvironmentProblem, match="file"):
            write(con, "runs", tmp_path / "file" / "out", "csv")


KEY = "ghp_0123456789abcdefghij0123"
BORN = [  # child, generation, parents; each an attempt of its own
    ("a", 1, ["s"]), ("b", 1, ["s"]), ("c", 2, ["a"]), ("d", 1, ["t"]), ("e", 2, ["d", "c"]), ("f", 1, ["u"]),
    ("n", 1, ["s"]),
]  # fmt: skip


def record(child: str, generation: int, parents: list[str], number: int, **more: Any) -> str:
    prompt = [{"role": "system", "text": "You write."}, {"role": "user", "text": f"Better than {parents}? {KEY}"}]
    kept = {"generation": generation, "attempt": number, "child_id": child, "parent_ids": parents, "operator": "llm",
            "model": "m", "accepted": child != "n", "call": number, "prompt": prompt}  # fmt: skip
    return json.dumps(kept | more)


@pytest.fixture
def con() -> duckdb.DuckDBPyConnection:
    made = duckdb.connect()
    made.execute("""
        CREATE TABLE events (place BIGINT, kind VARCHAR, record JSON);
        CREATE TABLE studies AS SELECT 'y1' AS study_id;
        CREATE TABLE calls (number BIGINT, run_id VARCHAR, status VARCHAR, text VARCHAR, written_at BIGINT);
        CREATE TABLE programs (program_id VARCHAR, text VARCHAR);
        CREATE TABLE credit (program_id VARCHAR, method VARCHAR, task VARCHAR, unit VARCHAR, estimate DOUBLE, se DOUBLE,
            low DOUBLE, high DOUBLE, n BIGINT, p DOUBLE, design VARCHAR)
    """)
    for number, (child, generation, parents) in enumerate(BORN):
        event = record(child, generation, parents, number)
        made.execute("INSERT INTO events VALUES (?, 'mutation', ?)", [number, event])
        reply = f'{{"reason": "{child} {KEY}"}}'
        calls = [(None, "failed", "no", 0), (None, "ok", reply, 1), ("r", "ok", "x", 0)]
        made.executemany("INSERT INTO calls VALUES (?, ?, ?, ?, ?)", [(number, *call) for call in calls])
        credited(made, child, 0.5, 0.01)
    made.executemany("INSERT INTO programs VALUES (?, ?)", [(one, f"# {one} {KEY}") for one in "stuabcdefn"])
    return made


def credited(con: duckdb.DuckDBPyConnection, child: str, estimate: float, p: float | None, task: str = "t") -> None:
    con.execute(
        "INSERT INTO credit VALUES (?, 'mutation', ?, 'nats', ?, 0.1, 0, 1, 8, ?, 'paired')", [child, task, estimate, p]
    )


def made(con: duckdb.DuckDBPyConnection) -> list[dict[str, Any]]:
    add_written(con)
    return rows(con.execute("FROM written"))


def test_a_conversation_is_whole_and_without_keys(con: duckdb.DuckDBPyConnection) -> None:
    told = {row["child_id"]: row for row in made(con)}
    assert set(told) == set("abcdef")  # n was refused
    assert [m["role"] for m in told["a"]["messages"]] == ["system", "user", "assistant"]
    assert told["a"]["messages"][2]["content"] == '{"reason": "a [secret]"}'
    assert KEY not in json.dumps(list(told.values()))
    assert told["e"]["child"] == "# e [secret]" and told["e"]["parents"] == ["# d [secret]", "# c [secret]"]
    assert (told["a"]["gain"], told["a"]["gain_low"], told["a"]["n"], told["a"]["study"]) == (0.5, 0.0, 8, "y1")


def test_related_children_and_siblings_are_one_lineage(con: duckdb.DuckDBPyConnection) -> None:
    told = {row["child_id"]: row["lineage"] for row in made(con)}
    assert told == dict.fromkeys("abcde", "a") | {"f": "f"}


def test_a_gain_on_one_task_and_a_loss_on_another_is_not_shown(con: duckdb.DuckDBPyConnection) -> None:
    credited(con, "a", 0.1, 0.8, "u")
    credited(con, "b", -0.1, 0.8, "u")
    con.execute("UPDATE credit SET p = 0.2 WHERE program_id = 'c'; UPDATE credit SET p = NULL WHERE program_id = 'd'")
    told = {row["child_id"]: row for row in made(con)}
    assert [child for child, row in told.items() if row["shown"]] == ["a", "f", "e"]
    assert told["a"]["gain"] is None and [one["task"] for one in told["a"]["gains"]] == ["t", "u"]


def test_the_values_of_this_machine_are_removed_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_API_KEY", "a-private-value-123")
    told = clean("use a-private-value-123 or sk-abcdefghijklmnop1234, hf_" + "x" * 20)
    assert told == "use [secret] or [secret], [secret]"


FIELDS: dict[str, str | float] = {"winner": "lab", "headline": "lab beats stock", "difference": 1.0, "p": 0.001}
VERDICT = TrackedRun("verdict", "verdict", "verdict", {"study": "y", **FIELDS}, (), FIELDS)


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
    more = [replace(runs[0], run_id="r2", succeeded=False), VERDICT]
    to_wandb(more, "more", tmp_path)
    import_module("wandb").teardown()  # as at the end of a process: everything is written
    found = {path.stem.removeprefix("run-"): path for path in tmp_path.glob("*/wandb/offline-run-*/run-*.wandb")}
    assert found.keys() == {expected.run_id for expected in (*runs, *more)}
    for expected in (*runs, *more):
        assert_in_wandb(expected, found[expected.run_id])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_trackio_project_has_every_run_and_the_verdict(folder: Path, tmp_path: Path) -> None:
    runs = [*tracked(folder), VERDICT]
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
    numbers = {"gain": 1.0, "reference_gain": 0.5, "difference": 0.5, "p": 0.001, "ratio": 2.0}
    assert {key: value for key, value in fields.items() if isinstance(value, float)} == numbers
    assert "lab beats stock" in str(fields["headline"]) and fields["caveats"] == "Weak trust. No sandbox."
