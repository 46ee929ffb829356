"""The clock of another process: it goes while that one works, and stands while it sleeps."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import pytest

from trainer.inside.metering import cpu_seconds
from trainer.process_clock import ProcessClock


@pytest.fixture
def worker() -> Iterator[tuple[int, int, int]]:
    """A process that spins as long as it is told to spin (s) or sleep (z) and answers: (id, to it, from it)."""
    read, to = os.pipe()
    answer, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(to)
        while asked := os.read(read, 1):
            line = time.process_time() + 0.1
            while asked == b"s" and time.process_time() < line:
                pass
            time.sleep(0.1 if asked == b"z" else 0)
            os.write(write, b".")
        os._exit(0)
    yield pid, to, answer
    os.close(to)
    os.waitpid(pid, 0)


def test_work_counts_and_sleep_does_not(worker: tuple[int, int, int]) -> None:
    pid, to, answer = worker
    clock, used = ProcessClock(pid), {}
    for what in (b"s", b"z"):
        began = clock.now()
        os.write(to, what)
        os.read(answer, 1)
        used[what] = clock.now() - began
    assert used[b"s"] >= 0.1 > 5 * used[b"z"] >= 0  # the first is what the process itself has counted


def test_a_process_that_has_used_nothing_yet_has_a_clock() -> None:
    """On one processor a child runs when its parent waits; who asks before must not be given the wall's clock."""
    mine, asked = os.sched_getaffinity(0), 0
    os.sched_setaffinity(0, {min(mine)})
    try:
        while not asked:
            if (pid := os.fork()) == 0:
                os._exit(0)
            fresh = cpu_seconds(pid) == 0.0
            clock = ProcessClock(pid)
            if fresh and cpu_seconds(pid) == 0.0:  # it had not run when it was asked for, either
                assert clock.process == pid
                asked += 1
            os.waitpid(pid, 0)
    finally:
        os.sched_setaffinity(0, mine)


def test_without_a_process_it_is_the_wall_s() -> None:
    clock = ProcessClock(None)
    began = clock.now()
    time.sleep(0.01)
    assert clock.now() - began >= 0.01
    assert ProcessClock(1 << 22 | 1).process is None
