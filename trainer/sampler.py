"""A thread that queries the driver about the GPU during an experiment, so that no untrusted measurement is used.

The driver's utilization is the share of a short period in which any kernel ran; it is no measure of efficiency.
"""

from __future__ import annotations

import statistics
import threading
from pathlib import Path

from programs.errors import EnvironmentProblem
from trainer import gpu

EVERY_SECONDS = 1.0


class Sampler(threading.Thread):
    """Queries the driver immediately and then every second until `stop`; ``problem``: why it stopped early."""

    def __init__(self, index: int, tool: str | Path, every: float = EVERY_SECONDS) -> None:
        super().__init__(name=f"gpu-{index}-sampler", daemon=True)
        self.index, self.tool, self.every = index, tool, every
        self.problem = ""
        self._busy: list[int] = []
        self._memory: list[int] = []
        self._ended = threading.Event()
        self.looks = 0

    def run(self) -> None:
        while not self._ended.is_set():
            try:
                load = gpu.load(self.index, self.tool)
            except EnvironmentProblem as problem:
                self.problem = problem.message
                return
            self.looks += 1
            self._busy += [] if load.busy is None else [load.busy]
            self._memory += [] if load.memory_mb is None else [load.memory_mb]
            self._ended.wait(self.every)

    def stop(self) -> None:
        """Stop after the current query."""
        self._ended.set()
        self.join()

    @property
    def utilization(self) -> float | None:
        """Mean share of the time in which a kernel ran, 0 to 1; None if the driver does not report it."""
        return statistics.mean(self._busy) / 100 if self._busy else None

    def peak_above(self, before: int | None) -> float | None:
        """Peak memory of the GPU above ``before``, MiB; None if the driver does not report it."""
        return max(0.0, float(max(self._memory) - (before or 0))) if self._memory else None
