"""Runs that share devices: real processes, so many experiments at a time, and the same results."""

from __future__ import annotations

import fcntl
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from itertools import accumulate
from pathlib import Path
from typing import Any

import pytest

from arena.work.executors import executor_of
from arena.work.lease import VARIABLE, Leases, processes
from bench.simulated_tasks import random_law, simulated_task
from programs.common.errors import UsageError
from tests.studies import make_study, silent
from trainer.data import DataStore
from trainer.experiment import Spec, Trainer
from trainer.streams import Streams
from trainer.task import Task

FORK = multiprocessing.get_context("fork")


def holder(lease: AbstractContextManager[None], told: Any, wait: Callable[[], object]) -> Any:
    """A process that has begun to hold a device, or all, until ``wait`` returns. It tells when it is in and out."""

    def hold() -> None:
        with lease:
            told.put((os.getpid(), time.monotonic(), "in"))
            wait()
            told.put((os.getpid(), time.monotonic(), "out"))

    process = FORK.Process(target=hold)
    process.start()
    return process


def test_who_is_alone_waits_for_the_others_and_lets_none_in(tmp_path: Path) -> None:
    leases, told = Leases(tmp_path / "devices", 2), FORK.SimpleQueue()
    first = holder(leases.one(), told, lambda: time.sleep(0.3))
    began = told.get()
    alone = holder(leases.alone(), told, lambda: time.sleep(0.1))
    others = [holder(leases.one(), told, lambda: time.sleep(0.05)) for _ in range(3)]
    spans = sorted([began, *(told.get() for _ in range(9))], key=lambda one: one[1])
    for one in (first, alone, *others):
        one.join(30)
    at = [pid for pid, _, _ in spans].index(alone.pid)
    before = [kind for _, _, kind in spans[:at]]
    assert before.count("in") == before.count("out") and spans[at + 1][0] == alone.pid


def test_no_more_than_so_many_processes_hold_a_device(tmp_path: Path) -> None:
    told, entered = FORK.SimpleQueue(), FORK.Value("i", 0)

    def until_another_is_in() -> None:
        """However slow the machine is."""
        with entered.get_lock():
            entered.value += 1
        until = time.monotonic() + 60
        while entered.value < 2 and time.monotonic() < until:
            time.sleep(0.01)

    holders = [holder(Leases(tmp_path / "devices", 2).one(), told, until_another_is_in) for _ in range(7)]
    spans = sorted((told.get() for _ in range(14)), key=lambda one: one[1])
    for process in holders:
        process.join(30)
    held = list(accumulate(1 if kind == "in" else -1 for _, _, kind in spans))
    assert max(held) == 2 and held[-1] == 0


def test_a_kill_lets_go_of_a_device(tmp_path: Path) -> None:
    leases, told = Leases(tmp_path / "devices", 2), FORK.SimpleQueue()
    holders = [holder(leases.one(), told, lambda: time.sleep(300)) for _ in range(2)]
    first = [told.get()[0] for _ in holders]
    waiting = holder(leases.one(), told, lambda: None)
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
