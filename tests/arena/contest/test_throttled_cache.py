"""What all readers share is computed when it has changed, and no more often than it can be."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from arena.serving import throttled_cache
from arena.serving.throttled_cache import ThrottledCache


def test_slow_values_are_computed_seldom_and_quick_ones_always(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, cache = [100.0], ThrottledCache[int]()
    monkeypatch.setattr(throttled_cache, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    monkeypatch.setattr(throttled_cache, "PATIENCE", 20.0)

    def got(state: int, seconds: float) -> int:
        def make() -> int:
            clock[0] += seconds
            return state

        return cache.get(state, make)

    assert [got(1, 3.0), got(1, 3.0)] == [1, 1] and clock == [103.0]  # nothing has changed
    assert got(2, 0.0) == 1
    clock[0] += 59.0
    assert got(2, 0.0) == 1
    clock[0] += 1.0
    assert [got(2, 0.0), got(3, 0.0), got(4, 0.5), got(5, 0.0)] == [2, 3, 4, 4]
