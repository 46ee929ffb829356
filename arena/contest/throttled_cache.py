"""A value that is worked out for everybody at once, and again when what it rests on has changed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

T = TypeVar("T")
PATIENCE = 20.0  # times as long as it took, at least, before it is worked out again


class ThrottledCache(Generic[T]):
    """Threads may share it: one works it out, the others take what there is."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._found: tuple[Hashable, T] | None = None
        self._next = 0.0

    def get(self, state: Hashable, make: Callable[[], T]) -> T:
        """What ``make`` returned for this state, or a little earlier where it takes long."""
        cached = self._found
        if cached is not None and (cached[0] == state or time.monotonic() < self._next):
            return cached[1]
        with self._lock:
            if self._found is not None and self._found is not cached:  # somebody else was faster
                return self._found[1]
            began = time.monotonic()
            value = make()
            self._found = state, value
            self._next = time.monotonic() + PATIENCE * (time.monotonic() - began)
            return value
