"""Workers that die, fail or are asked to stop."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from analysis.study import query
from arena.arms import Entry
from arena.standalone import play_entries
from arena.study.lock import is_taken
from arena.study.stop import Drained
from arena.study.study import Study
from arena.study.task_study import tasks_of
from arena.work.executor import rebuild
from arena.work.executors.local import LocalExecutor, WorkerProcess, make
from arena.work.jobs import BaselineJob, MeasureJob
from programs.common.errors import EnvironmentProblem, UsageError
from tests.studies import make_study, program, silent

STOCK = program("stock")
GAINS = "SELECT run_seed, verified_gain FROM runs ORDER BY run_seed"


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    study = make_study(tmp_path_factory.mktemp("undisturbed") / "s", workers=1)
    play_entries(study, [Entry(STOCK)], 2, silent)
    return query(study.folder, GAINS)


def workers_of(folder: Path) -> list[int]:
    """Process ids of the worker processes that serve the study in ``folder``."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                words = (entry / "cmdline").read_bytes().split(b"\0")
                if b"arena.work.worker" in words and str(folder).encode() in words:
                    found.append(int(entry.name))
    return found


@pytest.mark.slow
def test_a_worker_that_is_killed_is_replaced_and_its_run_goes_on(
    tmp_path: Path, undisturbed: list[dict[str, Any]]
) -> None:
    study = make_study(tmp_path / "s", workers=1)
    killed: list[int] = []
    notes: list[str] = []

    def kill_once(event: Mapping[str, Any]) -> None:
        if event["kind"] == "note":
            notes.append(event["text"])
        if event["kind"] == "experiment" and event["number"] == 2 and not killed:
            killed.extend(workers_of(study.folder))
            os.kill(killed[0], signal.SIGKILL)

    play_entries(study, [Entry(STOCK)], 2, kill_once)
    assert len(killed) == 1 and any("died" in note for note in notes)
    assert query(study.folder, GAINS) == undisturbed
    told = "SELECT count(*) AS n, count(DISTINCT record->>'experiment_id') AS different FROM events WHERE kind = {}"
    (experiments,) = query(study.folder, told.format("'experiment'"))
    assert experiments["n"] == experiments["different"]  # what the dead worker wrote down is not done again


@pytest.mark.slow
def test_a_measurement_may_name_a_split_of_its_own(tmp_path: Path) -> None:
    study = make_study(tmp_path / "s")
    files = study.task.baseline().files
    jobs = [MeasureJob(f"m{k}", files, "confirmation", 1, split=label) for k, label in enumerate(("", "a", "b", "a"))]
    with LocalExecutor(study.folder, 1, silent) as executor:
        measured = {result.job_id: result.measurements[0].metric for result in executor.run(jobs)}
    assert len(set(measured.values())) == 3 and measured["m1"] == measured["m3"] is not None


@pytest.mark.slow
def test_messages_that_arrive_together_are_all_read(tmp_path: Path) -> None:
    study = make_study(tmp_path / "s")
    worker = WorkerProcess(study.folder, 0)
    worker.send(BaselineJob("selection", 1))
    deadline = time.monotonic() + 250
    while waiting_bytes(worker) < 200 and time.monotonic() < deadline:  # "ready" is shorter, the result is longer
        time.sleep(0.05)
    messages = worker.receive() or []
    worker.close()
    assert [next(iter(message)) for message in messages] == ["ready", "result"]


def waiting_bytes(worker: WorkerProcess) -> int:
    return int(struct.unpack("i", fcntl.ioctl(worker.stdout, termios.FIONREAD, b"\0" * 4))[0])


@pytest.mark.slow
def test_a_worker_that_dies_with_nothing_in_hand_is_replaced(tmp_path: Path) -> None:
    study = make_study(tmp_path / "s")
    with LocalExecutor(study.folder, 2, silent) as executor:
        executor.workers[1].process.kill()
        executor.workers[1].process.wait()
        (result,) = executor.run([BaselineJob("selection", 1)])
        assert result.state == "finished"


def test_a_study_stays_locked_until_its_workers_have_ended_too(tmp_path: Path) -> None:
    study = make_study(tmp_path / "s", workers=1)
    with study:
        executor = make(study, silent, tasks_of(study))
    with executor:
        assert is_taken(study.folder)
    assert not is_taken(study.folder)


@pytest.mark.slow
def test_a_stop_request_drains_and_the_same_match_goes_on(tmp_path: Path, undisturbed: list[dict[str, Any]]) -> None:
    study = make_study(tmp_path / "s", workers=1)

    told: list[Mapping[str, Any]] = []

    def stop_early(event: Mapping[str, Any]) -> None:
        told.append(event)
        if event["kind"] == "experiment" and event["number"] == 3:
            before = len(told)
            os.kill(os.getpid(), signal.SIGINT)  # handled here and now: nothing may be shown from within it
            assert len(told) == before and is_taken(study.folder)

    with pytest.raises(Drained) as caught:
        play_entries(study, [Entry(STOCK)], 2, stop_early)
    assert caught.value.exit_code == 130
    assert [event["text"][:8] for event in told if event["kind"] == "note"] == ["stopping"]
    stopped = query(study.folder, "SELECT count(*) AS n FROM experiments")[0]["n"]
    assert 4 <= stopped <= 6
    play_entries(Study.open(study.folder), [Entry(STOCK)], 2, silent)
    assert query(study.folder, GAINS) == undisturbed


@pytest.mark.slow
def test_what_a_worker_cannot_get_over_is_one_error_here(tmp_path: Path) -> None:
    study = make_study(tmp_path / "s", workers=1)
    (study.folder / "runs").rmdir()
    (study.folder / "runs").write_text("in the way")
    with pytest.raises(EnvironmentProblem, match="worker 0") as caught:
        play_entries(study, [Entry(STOCK)], 1, silent)
    assert "\n" not in caught.value.message


def test_worker_reports_its_error_with_its_log_on_a_full_disk(tmp_path: Path) -> None:
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-P", "-m", "arena.work.worker", str(tmp_path), "0", str(os.getpid())]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=full, check=False)
    assert done.returncode == 1 and json.loads(done.stdout)["error"]["kind"] == "not_found"


def test_a_worker_works_for_process_1_of_a_container(tmp_path: Path) -> None:
    enter = ["unshare", "--user", "--map-root-user", "--pid", "--fork"]
    if shutil.which("unshare") is None or subprocess.run([*enter, "true"], capture_output=True).returncode:
        pytest.skip("no process namespace can be made here")
    script = "import os, sys; from pathlib import Path; from arena.work.executors.local import WorkerProcess; "
    script += "print(os.getpid(), WorkerProcess(Path(sys.argv[1]), 0).receive()[0]['error']['kind'])"
    done = subprocess.run(
        [*enter, sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.stdout.split() == ["1", "not_found"], done.stderr


def test_a_worker_whose_parent_is_gone_does_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-P", "-m", "arena.work.worker", str(tmp_path), "0", "1"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_errors_keep_their_kind_on_the_way() -> None:
    error = rebuild({"kind": "usage", "message": "bad", "hint": "mend it"}, "worker 3: ")
    assert type(error) is UsageError and error.message == "worker 3: bad" and error.hint == "mend it"
