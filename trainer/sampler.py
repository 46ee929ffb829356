"""A thread beside an experiment that asks the driver what its GPU does: from outside, so that nobody's word counts.

What the driver calls utilization is the share of a short time in which any kernel ran, not how well it ran.
"""

from __future__ import annotations

import statistics
import threading
from pathlib import Path

from programs.errors import EnvironmentProblem
from trainer import gpu

EVERY_SECONDS = 1.0


class Sampler(threading.Thread):
    """Looks at once and then every second until `stop`; ``problem`` says why it could not go on."""

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
        """No further look; waits for the one that is going on."""
        self._ended.set()
        self.join()

    @property
    def utilization(self) -> float | None:
        """Mean share of the time in which the GPU computed, 0 to 1; None where the driver does not tell."""
        return statistics.mean(self._busy) / 100 if self._busy else None

    def peak_above(self, before: int | None) -> float | None:
        """Most memory of the GPU in use at a look, MiB, above what was in use before; None where it is not told."""
        return max(0.0, float(max(self._memory) - (before or 0))) if self._memory else None
