"""Which model to call next, and when: waits with jitter, Retry-After, and fallback to other models."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Sequence

from inner_loop.models.provider import Fault

MOST = 60.0  # seconds of one wait without a Retry-After


class RetryPolicy:
    """Models in their order of preference, each with a time until which it is skipped.

    All calls of a process share it, so one call's faults also slow down the others. ``backoff`` is the first wait in
    seconds; it doubles with each fault of a call at a model, with a jitter of half either way
    (https://aws.amazon.com/builders-library/timeouts-retries-and-backoff-with-jitter/).
    """

    def __init__(self, models: Sequence[str], backoff: float) -> None:
        self._models = tuple(models)
        self._backoff = backoff
        self._until: dict[str, float] = {}
        self._lock = threading.Lock()

    def next(self, refused: Sequence[str] = ()) -> tuple[str, float] | None:
        """The first available model, and the seconds to wait for it; None if all have refused."""
        now = time.monotonic()
        with self._lock:
            waits = [(max(0.0, self._until.get(m, 0.0) - now), m) for m in self._models if m not in refused]
        if not waits:
            return None
        free = next((m for wait, m in waits if wait <= 0), None)
        return (free, 0.0) if free else min(waits)[::-1]

    def failed(self, model: str, fault: Fault, times: int, luck: random.Random) -> None:
        """Skip a model for a while; ``times``: this call's faults there."""
        wait = min(MOST, self._backoff * 2.0 ** (times - 1)) * (0.5 + luck.random())
        if fault.retry_after is not None:
            wait = fault.retry_after * (1.0 + 0.1 * luck.random())
        with self._lock:
            self._until[model] = max(self._until.get(model, 0.0), time.monotonic() + wait)
