"""The clock of another process, read from outside: CPU-seconds of all its threads, which it cannot turn back.

A busy machine lets a process wait, and waiting is no CPU; on a quiet one waking up is no work either.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress

from trainer.inside.metering import cpu_seconds

_SETTLE_SECONDS = 0.012  # that we wait for a process to fall asleep: more than a tick at 100 Hz, which books the rest
_LOOK_SECONDS = 0.00002


class ProcessClock:
    """``now`` in seconds: CPU-seconds of ``process``; of the wall, where there is no process to look at.

    The kernel adds what a thread has used when it stops running, so a sleeping process is told to the nanosecond and a
    running one up to a tick (1 to 4 ms) late. Source: kernel/sched/cputime.c, thread_group_cputime.
    """

    def __init__(self, process: int | None) -> None:
        # one that has just been forked has used nothing: to take that for no process at all counted its sleep as work
        self.process = process if process is not None and os.path.isdir(f"/proc/{process}/task") else None

    def now(self) -> float:
        if self.process is None:
            return time.perf_counter()
        line = time.monotonic() + _SETTLE_SECONDS
        while _runs(self.process) and time.monotonic() < line:
            time.sleep(_LOOK_SECONDS)
        return cpu_seconds(self.process)


def _runs(process: int) -> bool:
    """Whether any thread of a process runs or waits for a processor."""
    with suppress(OSError):
        return any(
            _state(f"/proc/{process}/task/{thread}/stat") == b"R" for thread in os.listdir(f"/proc/{process}/task")
        )
    return False


def _state(path: str) -> bytes:
    """The letter of a thread's state; empty for one that has ended."""
    with suppress(OSError), open(path, "rb") as file:
        return file.read().rpartition(b")")[2][1:2]
    return b""
