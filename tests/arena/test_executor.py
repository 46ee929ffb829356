"""Workers that die, fail, share a device or are asked to stop; runs with several devices."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from datetime import datetime
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
from arena.work.executors.local import LocalExecutor, make
from arena.work.jobs import MeasureJob
from arena.work.lease import VARIABLE
from meta.cli.new_study import workers_of as workers_of_plan
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
    """Process ids of the worker processes that serve the study in ``folder``; a child that has not begun its own
    program yet looks like its parent, and is left out."""
    parents = dict[int, int]()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                words = (entry / "cmdline").read_bytes().split(b"\0")
                if b"arena.work.worker" in words and str(folder).encode() in words:
                    stat = (entry / "stat").read_text()
                    parents[int(entry.name)] = int(stat.rpartition(")")[2].split()[1])
    return [process for process, parent in parents.items() if parent not in parents]


def played_with_a_kill(study: Study, entry: Entry, runs: int) -> None:
    """A match whose worker is killed after its third experiment."""
    killed, notes = list[int](), list[str]()

    def kill_once(event: Mapping[str, Any]) -> None:
        if event["kind"] == "note":
            notes.append(event["text"])
        if event["kind"] == "experiment" and event["number"] == 2 and not killed:
            killed.extend(workers_of(study.folder))
            os.kill(killed[0], signal.SIGKILL)

    play_entries(study, [entry], runs, kill_once)
    assert len(killed) == 1 and any("died" in note for note in notes)
    told = "SELECT count(*) AS n, count(DISTINCT record->>'experiment_id') AS different FROM events"
    (experiments,) = query(study.folder, f"{told} WHERE kind = 'experiment'")
    assert experiments["n"] == experiments["different"]  # what the dead worker wrote down is not done again


@pytest.mark.slow
def test_a_worker_that_is_killed_is_replaced_and_its_run_goes_on(
    tmp_path: Path, undisturbed: list[dict[str, Any]]
) -> None:
    study = make_study(tmp_path / "s", workers=1)
    played_with_a_kill(study, Entry(STOCK), 2)
    assert query(study.folder, GAINS) == undisturbed


@pytest.mark.slow
def test_a_worker_killed_within_a_wave_loses_and_repeats_nothing(tmp_path: Path) -> None:
    """Its runs have two devices."""
    waves = Entry(program("waves", "  wave: 6\n  screen: {fraction: 0.25, promote: 0.34}\n"))
    alone = make_study(tmp_path / "alone", workers=1)
    play_entries(alone, [waves], 1, silent)
    study = make_study(tmp_path / "s", workers=1, devices=2)
    played_with_a_kill(study, waves, 1)
    columns = "number, source_id, seed, fraction, status, metric, decision, reason, device_seconds_charged"
    for sql in (f"SELECT {columns} FROM experiments ORDER BY number", GAINS):
        assert query(study.folder, sql) == query(alone.folder, sql)
    assert len(query(study.folder, "FROM experiments")) > 10


@pytest.mark.slow
def test_runs_that_share_a_device_end_as_runs_that_have_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, undisturbed: list[dict[str, Any]]
) -> None:
    """Two processes and one device: never two experiments at once, by the clock of the ledger, and equal results."""
    monkeypatch.setenv(VARIABLE, "2")
    study = make_study(tmp_path / "s", workers=1)
    play_entries(study, [Entry(STOCK)], 2, silent)
    assert query(study.folder, GAINS) == undisturbed
    assert len(list((study.folder / "log").glob("worker-*.log"))) == 2
    ended = query(study.folder, "SELECT record->>'at' AS at FROM events WHERE kind = 'experiment'")
    rows = query(study.folder, "SELECT started_at, wall_seconds FROM experiments WHERE NOT cached")
    first = min(datetime.fromisoformat(row["started_at"]) for row in rows)  # asked for, that is, no later than begun
    last = max(datetime.fromisoformat(event["at"]) for event in ended)
    assert len(ended) == 12 and sum(row["wall_seconds"] for row in rows) <= (last - first).total_seconds()


@pytest.mark.slow
def test_a_measurement_may_name_a_split_though_a_worker_died(tmp_path: Path) -> None:
    """It had nothing in hand, and is replaced."""
    study = make_study(tmp_path / "s")
    files = study.task.baseline().files
    jobs = [MeasureJob(f"m{k}", files, "confirmation", 1, split=label) for k, label in enumerate(("", "a", "b", "a"))]
    with LocalExecutor(study.folder, 2, silent) as executor:
        executor.workers[1].process.kill()
        executor.workers[1].process.wait()
        measured = {result.job_id: result.measurements[0].metric for result in executor.run(jobs)}
    assert len(set(measured.values())) == 3 and measured["m1"] == measured["m3"] is not None


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


def test_worker_reports_its_error_on_a_full_disk_and_to_nobody(tmp_path: Path) -> None:
    """Its log cannot be written; one whose parent is gone does nothing."""
    command = [sys.executable, "-P", "-m", "arena.work.worker", str(tmp_path), "0"]
    with open("/dev/full", "w") as full:
        how: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "check": False}
        done = subprocess.run([*command, str(os.getpid())], stderr=full, **how)
    assert done.returncode == 1 and json.loads(done.stdout)["error"]["kind"] == "not_found"
    done = subprocess.run([*command, "1"], stderr=subprocess.PIPE, **how)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


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


def test_errors_keep_their_kind_on_the_way() -> None:
    error = rebuild({"kind": "usage", "message": "bad", "hint": "mend it"}, "worker 3: ")
    assert type(error) is UsageError and error.message == "worker 3: bad" and error.hint == "mend it"


def test_a_plan_says_how_many_work_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    assert workers_of_plan(None) == 8
    assert [workers_of_plan(None, devices) for devices in (2, 3, 8, 20)] == [4, 2, 1, 1]
    with pytest.raises(UsageError, match="8 runs at a time on 5 devices each"):
        workers_of_plan(8, 5)
