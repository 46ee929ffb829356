"""Limits the parallel calls of one provider, over all worker processes of a study."""

from __future__ import annotations

import fcntl
import re
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

LOOK_SECONDS = 0.02


class CallSlots:
    """Lock files in a folder, one per call in flight; without a folder, semaphores of this process."""

    def __init__(self, folder: Path | None, width: int) -> None:
        self._folder, self._width = folder, width
        self._here: dict[str, threading.Semaphore] = defaultdict(lambda: threading.Semaphore(width))
        self._lock = threading.Lock()

    @contextmanager
    def one(self, provider: str, pause: Callable[[float], None]) -> Iterator[None]:
        """Hold a slot inside the block. ``pause`` waits some seconds, and may raise to give up."""
        if self._folder is None:
            with self._lock:
                semaphore = self._here[provider]
            while not semaphore.acquire(blocking=False):
                pause(LOOK_SECONDS)
            try:
                yield
            finally:
                semaphore.release()
            return
        with self._held(self._folder, re.sub(r"\W", "_", provider), pause):
            yield

    @contextmanager
    def _held(self, folder: Path, name: str, pause: Callable[[float], None]) -> Iterator[None]:
        folder.mkdir(exist_ok=True)
        while (slot := take(folder, name, self._width)) is None:
            pause(LOOK_SECONDS)
        with slot:  # closing it releases the lock
            yield


def take(folder: Path, name: str, width: int) -> TextIO | None:
    """A free slot, locked, or None."""
    for number in range(width):
        slot = open(folder / f"{name}-{number}.lock", "a", encoding="utf-8")  # noqa: SIM115 - held by the caller
        try:
            fcntl.flock(slot, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            slot.close()
        else:
            return slot
    return None
