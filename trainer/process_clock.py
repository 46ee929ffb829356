"""The CPU clock of another process, read from outside: CPU-seconds of all its threads, which it cannot manipulate.

CPU time includes neither waiting on a busy machine nor the latency of waking up on a quiet one.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress

from trainer.inside.metering import cpu_seconds

_SETTLE_SECONDS = 0.012  # longest wait for a process to sleep; longer than a tick at 100 Hz, which updates its clock
_LOOK_SECONDS = 0.00002


class ProcessClock:
    """``now`` is the CPU time of ``process`` in seconds; without a process, wall time.

    The kernel updates a thread's CPU time when it stops running, so the clock of a sleeping process is exact to the
    nanosecond and that of a running one up to a tick (1 to 4 ms) late. Source: kernel/sched/cputime.c,
    thread_group_cputime.
    """

    def __init__(self, process: int | None) -> None:
        # do not test for used CPU time here: a process that was just forked has used none
        self.process = process if process is not None and os.path.isdir(f"/proc/{process}/task") else None

    def now(self) -> float:
        if self.process is None:
            return time.perf_counter()
        line = time.monotonic() + _SETTLE_SECONDS
        while _runs(self.process) and time.monotonic() < line:
            time.sleep(_LOOK_SECONDS)
        return cpu_seconds(self.process)


def _runs(process: int) -> bool:
    """Whether any thread of a process is running or waiting for a CPU."""
    with suppress(OSError):
        return any(
            _state(f"/proc/{process}/task/{thread}/stat") == b"R" for thread in os.listdir(f"/proc/{process}/task")
        )
    return False


def _state(path: str) -> bytes:
    """The letter of a thread's state; empty if the thread has ended."""
    with suppress(OSError), open(path, "rb") as file:
        return file.read().rpartition(b")")[2][1:2]
    return b""
