"""What a worker elsewhere says is read strictly; what a run's folder holds is taken as from a stranger."""

from __future__ import annotations

import hashlib
import json
import zlib
from pathlib import Path
from typing import Any

import pytest

from arena.cluster import runs
from arena.cluster.link import Link
from arena.cluster.parcel import files_of, lay, parcel_of
from arena.cluster.protocol import Malformed, TrackedJob, parse, result_of
from arena.jobs import BaselineJob, RunJob
from inner_loop.events import Event, ExperimentEvent, RunEndedEvent, RunStartedEvent, experiment_id
from programs.errors import TaskError
from tests.events import example
from tests.studies import make_study
from trainer.task import Task

RUN = RunJob("r1", "m", "a", "p", "stock", "# x", 1, "selection", 1.0, "scripted", (5, 6), "r1")


def experiment(number: int, /, **other: Any) -> dict[str, Any]:
    event = example(ExperimentEvent, run_id="r1", experiment_id=experiment_id("r1", number), number=number)
    return event.to_record() | other


def other(kind: type[Event], **given: Any) -> dict[str, Any]:
    return example(kind, run_id="r1", **given).to_record()


def measured(seed: int, **other: Any) -> dict[str, Any]:
    told = {"seed": seed, "status": "ok", "metric": 1.0, "reason": "", "trust": "scored"}
    return told | {"spent_seconds": 0.1, "wall_seconds": 0.1, "findings": []} | other


def result(*measurements: dict[str, Any], **other: Any) -> dict[str, Any]:
    return {"job_id": "r1", "state": "finished", "measurements": list(measurements), "worker": 3} | other


@pytest.mark.parametrize("line", [b"[]", b"{", b'{"a": NaN}', b"\xff", b"[" * 100_000, b'"' + b"x" * (17 << 20) + b'"'])
def test_a_line_that_is_no_message_is_refused(line: bytes) -> None:
    with pytest.raises(Malformed):
        parse(line)


def test_events_stand_once_and_in_order() -> None:
    hand = TrackedJob(RUN)
    assert hand.take(other(RunStartedEvent)) is not None
    assert hand.take(other(RunStartedEvent)) is None  # told again by a second worker
    assert hand.take(experiment(0)) is not None and hand.take(experiment(1)) is not None
    with pytest.raises(Malformed, match="experiment 1 again"):
        hand.take(experiment(1))
    assert [getattr(event, "number", None) for event in hand.recorded()] == [0, 1]
    assert hand.take(other(RunEndedEvent, state="stopped")) is not None
    assert hand.take(other(RunEndedEvent, state="finished")) is not None
    assert hand.take(other(RunEndedEvent, state="finished")) is None


@pytest.mark.parametrize(
    "event",
    [
        "text", {"kind": 3}, {"kind": "verification", "run_id": "r1"}, {"kind": "study"}, {"kind": "champion"},
        experiment(0, run_id="r2"), experiment(64), experiment(-1), experiment(0, number=0.0),
        experiment(0, number=True),
        experiment(0, experiment_id="e"), experiment(0, prev="", hash="x"), {"kind": "decision", "run_id": "r1"},
    ],
)  # fmt: skip
def test_an_event_that_the_job_in_hand_does_not_bring_forth_is_refused(event: object) -> None:
    with pytest.raises(Malformed):
        TrackedJob(RUN).take(event)


def test_a_baseline_tells_nothing_but_faults() -> None:
    hand = TrackedJob(BaselineJob("selection", 1))
    assert hand.take({"kind": "fault", "run_id": None, "reason": "disk"}) is not None
    with pytest.raises(Malformed):
        hand.take(experiment(0))


def test_a_result_fits_its_job() -> None:
    found = result_of(result(measured(5), measured(6)), RUN)
    assert [m.seed for m in found.measurements] == [5, 6] and found.measurements[0].findings == ()
    assert result_of(result(final_is_baseline=True), RUN).final_is_baseline
    assert result_of(result(state="interrupted"), RUN).state == "interrupted"


@pytest.mark.parametrize(
    "told",
    [
        None, result(), result(measured(5)), result(measured(6), measured(5)), result(measured(5), measured(7)),
        result(measured(5), measured(6), job_id="r2"), result(state="won"),
        result(measured(5, metric="low"), measured(6)),
        result(measured(5, metric=float("inf")), measured(6)), {"job_id": "r1"},
    ],
)  # fmt: skip
def test_a_result_of_another_kind_is_refused(told: object) -> None:
    with pytest.raises(Malformed):
        result_of(told, RUN)


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
    sent = parcel_of(study.config, study.folder)
    there = lay(sent, tmp_path / "there")
    assert there.task_id == Task.load(there.task).task_id and there.task.startswith(str(tmp_path / "there"))
    assert lay(sent, tmp_path / "there") == there


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


def stored(kind: str, data: bytes) -> tuple[str, bytes]:
    whole = f"{kind} {len(data)}\0".encode() + data
    name = hashlib.sha1(whole).hexdigest()
    return f".git/objects/{name[:2]}/{name[2:]}", zlib.compress(whole)


def commit(*entries: tuple[str, str, bytes]) -> list[tuple[str, bytes]]:
    """Objects and branch of one commit with these files: (mode, name, content)."""
    blobs = [stored("blob", content) for _, _, content in entries]
    ids = [bytes.fromhex(name[13:].replace("/", "")) for name, _ in blobs]
    rows = [f"{mode} {name}".encode() + b"\0" + i for (mode, name, _), i in zip(entries, ids, strict=True)]
    tree = stored("tree", b"".join(rows))
    text = f"tree {tree[0][13:].replace('/', '')}\nauthor M <m@x> 1 +0000\ncommitter M <m@x> 1 +0000\n\nx\n"
    head = stored("commit", text.encode())
    return [*blobs, tree, head, (".git/refs/heads/main", head[0][13:].replace("/", "").encode() + b"\n")]


def test_a_folder_comes_back_as_it_was(tmp_path: Path) -> None:
    packed = [*commit(("100644", "train.py", b"x = 1\n")), ("results.tsv", b"a\tb\n"), ("logs/0001.log", b"said\n")]
    runs.unpack(packed, tmp_path / "run")
    assert (tmp_path / "run" / "train.py").read_bytes() == b"x = 1\n"
    assert sorted(runs.pack(tmp_path / "run")) == sorted(packed)
    (tmp_path / "run" / ".git" / "hooks").mkdir()
    (tmp_path / "run" / ".git" / "hooks" / "post-checkout").write_text("#!/bin/sh\n")
    assert not any("hooks" in name or "config" in name for name, _ in runs.pack(tmp_path / "run"))


@pytest.mark.parametrize(
    "file",
    [
        ("../out", b""), ("/etc/passwd", b""), ("agent/../../out", b""), ("agent/.ssh/x", b""), ("train.py", b""),
        (".git/config", b"[core]\nfsmonitor = touch /tmp/x\n"), (".git/hooks/post-checkout", b""),
        (".gitattributes", b""),
        (".git/refs/heads/main", b"ref: ../../x\n"), (".git/refs/heads/../../x", b"0" * 40 + b"\n"),
        (".git/objects/aa/" + "b" * 38, zlib.compress(b"blob 1\0x")), (".git/objects/aa/" + "b" * 38, b"no zlib"),
        ("logs/0001.log\n", b""), ("results.tsv", "text"), ("logs/0001.log", b"x" * ((64 << 20) + 1)),
    ],
)  # fmt: skip
def test_a_folder_with_anything_else_is_refused_and_leaves_nothing(tmp_path: Path, file: Any) -> None:
    home = tmp_path / "runs"
    home.mkdir()
    with pytest.raises(runs.Unsafe):
        runs.unpack([*commit(("100644", "train.py", b"")), file], home / "run")
    assert list(tmp_path.iterdir()) == [home] and list(home.iterdir()) == []


@pytest.mark.parametrize("entry", [("100644", "../out"), ("100644", ".git"), ("40000", "..")])
def test_a_tree_that_leads_out_is_refused_by_git(tmp_path: Path, entry: tuple[str, str]) -> None:
    with pytest.raises(runs.Unsafe):
        runs.unpack(commit((*entry, b"stolen")), tmp_path / "runs" / "run")
    assert not (tmp_path / "out").exists() and not (tmp_path / "runs" / "out").exists()


def test_a_link_in_a_tree_is_laid_as_a_plain_file(tmp_path: Path) -> None:
    runs.unpack(commit(("120000", "train.py", b"/etc/passwd")), tmp_path / "run")
    assert not (tmp_path / "run" / "train.py").is_symlink()
    assert (tmp_path / "run" / "train.py").read_bytes() == b"/etc/passwd"


def test_beyond_the_bounds_logs_stay_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "run"
    runs.unpack([*commit(("100644", "train.py", b"")), ("results.tsv", b"a"), ("logs/0001.log", b"x" * 4000)], folder)
    monkeypatch.setattr(runs, "MOST_BYTES", 3000)
    names = [name for name, _ in runs.pack(folder)]
    assert "results.tsv" in names and not any("logs" in name for name in names)
