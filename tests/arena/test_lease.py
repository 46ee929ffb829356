"""Runs that share devices: real processes, so many experiments at a time, and the same results."""

from __future__ import annotations

import fcntl
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from analysis.study import query
from arena.arms import Entry
from arena.standalone import play_entries
from arena.work.executors import executor_of
from arena.work.lease import VARIABLE, Leases, processes
from bench.simulated_tasks import random_law, simulated_task
from programs.common.errors import UsageError
from tests.studies import make_study, program, silent
from trainer.data import DataStore
from trainer.experiment import Spec, Trainer
from trainer.streams import Streams
from trainer.task import Task

HELD = multiprocessing.get_context("fork")


def hold(folder: Path, told: Any, seconds: float) -> None:
    with Leases(folder, 2).one():
        told.put((os.getpid(), time.monotonic(), "in"))
        time.sleep(seconds)
        told.put((os.getpid(), time.monotonic(), "out"))


def hold_with_another(folder: Path, told: Any, entered: Any) -> None:
    """Hold a device until somebody else has held one too, however slow the machine is."""
    with Leases(folder, 2).one():
        told.put((os.getpid(), time.monotonic(), "in"))
        with entered.get_lock():
            entered.value += 1
        until = time.monotonic() + 60
        while entered.value < 2 and time.monotonic() < until:
            time.sleep(0.01)
        told.put((os.getpid(), time.monotonic(), "out"))


def hold_all(folder: Path, told: Any) -> None:
    with Leases(folder, 2).alone():
        told.put((os.getpid(), time.monotonic(), "in"))
        time.sleep(0.1)
        told.put((os.getpid(), time.monotonic(), "out"))


def test_who_is_alone_waits_for_the_others_and_lets_none_in(tmp_path: Path) -> None:
    told = HELD.SimpleQueue()
    first = HELD.Process(target=hold, args=(tmp_path / "devices", told, 0.3))
    first.start()
    began = told.get()
    others = [HELD.Process(target=hold_all, args=(tmp_path / "devices", told))]
    others += [HELD.Process(target=hold, args=(tmp_path / "devices", told, 0.05)) for _ in range(3)]
    for one in others:
        one.start()
    spans = sorted([began, *(told.get() for _ in range(9))], key=lambda one: one[1])
    for one in (first, *others):
        one.join(30)
    at = [pid for pid, _, _ in spans].index(others[0].pid)
    before = [kind for _, _, kind in spans[:at]]
    assert before.count("in") == before.count("out") and spans[at + 1][0] == others[0].pid


def test_no_more_than_so_many_processes_hold_a_device(tmp_path: Path) -> None:
    told, entered = HELD.SimpleQueue(), HELD.Value("i", 0)
    holders = [HELD.Process(target=hold_with_another, args=(tmp_path / "devices", told, entered)) for _ in range(7)]
    for holder in holders:
        holder.start()
    spans = sorted((told.get() for _ in range(14)), key=lambda one: one[1])
    for holder in holders:
        holder.join(30)
    held = most = 0
    for _, _, kind in spans:
        held += 1 if kind == "in" else -1
        most = max(most, held)
    assert most == 2 and held == 0


def test_a_kill_lets_go_of_a_device(tmp_path: Path) -> None:
    told = HELD.SimpleQueue()
    holders = [HELD.Process(target=hold, args=(tmp_path / "devices", told, 300.0)) for _ in range(2)]
    for holder in holders:
        holder.start()
    first = [told.get()[0] for _ in holders]
    waiting = HELD.Process(target=hold, args=(tmp_path / "devices", told, 0.0))
    waiting.start()
    os.kill(first[0], signal.SIGKILL)
    assert told.get()[0] == waiting.pid  # no sooner than that, for the other holds on for minutes
    os.kill(first[1], signal.SIGKILL)
    for process in (*holders, waiting):
        process.join(30)


def test_who_waits_comes_before_who_asks_again(tmp_path: Path) -> None:
    leases, order = Leases(tmp_path / "devices", 1), []

    def wait() -> None:
        with leases.one():
            order.append("waited")

    waiting = threading.Thread(target=wait)
    with leases.one():
        waiting.start()
        with open(tmp_path / "devices" / "gate.lock", "a") as gate:
            while True:
                try:
                    fcntl.flock(gate, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    break  # it stands at the gate
                fcntl.flock(gate, fcntl.LOCK_UN)
                time.sleep(0.001)
    with leases.one():
        order.append("again")
    waiting.join(30)
    assert order == ["waited", "again"]


def test_devices_are_shared_only_where_that_is_possible(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "")
    study = make_study(tmp_path / "s", workers=2)
    chat = study.config.model_copy(update={"researcher": "chat"})  # its runs wait for models
    assert (processes(study.config), processes(chat)) == (2, 4)
    assert processes(chat.model_copy(update={"devices": 2})) == 2
    monkeypatch.setenv(VARIABLE, "1")
    assert processes(chat) == 2
    monkeypatch.setenv(VARIABLE, "3")
    assert processes(study.config) == processes(chat) == 6
    with pytest.raises(UsageError, match="several devices each"):
        processes(study.config.model_copy(update={"devices": 2}))
    monkeypatch.setenv("METALOOP_EXECUTOR", "ray")
    with (
        pytest.raises(UsageError, match="METALOOP_RUNS_PER_DEVICE=3: not possible here, on a cluster"),
        executor_of(study, silent),
    ):
        pass
    for odd in ("9", "x", "-1"):
        monkeypatch.setenv(VARIABLE, odd)
        with pytest.raises(UsageError, match="not a number of runs"):
            processes(chat)
    monkeypatch.setenv(VARIABLE, "")
    assert processes(chat) == 2


def together(folder: Path) -> float:
    """Experiments that were carried out at a time, in the mean, from the first one's start to the last one's end."""
    events = query(
        folder, "SELECT record->>'at' AS at, record->>'experiment_id' AS id FROM events WHERE kind = 'experiment'"
    )
    rows = query(folder, "SELECT experiment_id, started_at, wall_seconds FROM experiments WHERE NOT cached")
    assert len(events) == 18
    first = min(datetime.fromisoformat(row["started_at"]) for row in rows)  # asked for, that is, no later than begun
    last = max(datetime.fromisoformat(event["at"]) for event in events)
    return float(sum(row["wall_seconds"] for row in rows) / (last - first).total_seconds())


def test_waiting_for_a_device_is_no_part_of_an_experiment(tmp_path: Path) -> None:
    task = Task.load(simulated_task(random_law(seed=3), tmp_path / "task"))
    trainer = Trainer(task, DataStore(task, Streams.from_seed(1), tmp_path / "data"))

    @contextmanager
    def late() -> Iterator[None]:
        time.sleep(0.5)
        yield

    trainer.lease = late
    began = time.monotonic()
    landing = trainer.run(Spec(task.baseline(), 1, "search"))
    rest = time.monotonic() - began - trainer.waited
    assert landing.status == "ok" and trainer.waited > 0.0
    assert landing.ended - landing.began <= rest and landing.wall_seconds <= rest


@pytest.mark.slow
def test_runs_that_share_a_device_end_as_runs_that_have_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three processes and one device: never two experiments at once, by the clock of the ledger, and equal results."""
    monkeypatch.setenv(VARIABLE, "1")
    results, processes_seen = [], []
    for name, runs in (("alone", 1), ("shared", 3)):
        monkeypatch.setenv(VARIABLE, str(runs))
        study = make_study(tmp_path / name, workers=1)
        play_entries(study, [Entry(program("stock"))], 3, silent)
        gains = "SELECT run_seed, verified_gain, claimed_best FROM runs ORDER BY run_seed"
        results.append(query(study.folder, gains))
        processes_seen.append(len(list((study.folder / "log").glob("worker-*.log"))))
        assert together(study.folder) <= 1.0
    assert processes_seen == [1, 3]
    assert results[0] == results[1] and len(results[0]) == 3
