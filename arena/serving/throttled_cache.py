"""A cached value that all threads share, computed again when its inputs change, but not too often."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

T = TypeVar("T")
PATIENCE = 20.0  # minimum time between computations, in multiples of the time that the last one took


class ThrottledCache(Generic[T]):
    """Thread-safe: one thread computes, the others use the old value."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._found: tuple[Hashable, T] | None = None
        self._next = 0.0

    def get(self, state: Hashable, make: Callable[[], T]) -> T:
        """What ``make`` returned for this state, or for an earlier one if computing it is slow."""
        cached = self._found
        if cached is not None and (cached[0] == state or time.monotonic() < self._next):
            return cached[1]
        with self._lock:
            if self._found is not None and self._found is not cached:  # another thread was faster
                return self._found[1]
            began = time.monotonic()
            value = make()
            self._found = state, value
            self._next = time.monotonic() + PATIENCE * (time.monotonic() - began)
            return value
