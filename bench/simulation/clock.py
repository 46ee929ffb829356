"""Simulated time."""

from __future__ import annotations

import heapq
from collections.abc import Callable


class Clock:
    """Carries out what is due, in order of time, equal times in the order in which they were asked for. Seconds."""

    def __init__(self) -> None:
        self.now = 0.0
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._asked = 0

    def after(self, seconds: float, do: Callable[[], None]) -> None:
        heapq.heappush(self._due, (self.now + seconds, self._asked, do))
        self._asked += 1

    def run(self, over: Callable[[], bool]) -> None:
        """Until nothing is due, or ``over`` says so."""
        while self._due and not over():
            self.now, _, do = heapq.heappop(self._due)
            do()
