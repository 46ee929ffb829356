"""Calls in flight: a thread each, with results taken in the order of the calls."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")
LOOK_SECONDS = 0.05


class _PendingCall(Generic[T]):
    def __init__(self, work: Callable[[], T]) -> None:
        self.done = threading.Event()
        self.result: T | None = None
        self.error: BaseException | None = None
        self.thread = threading.Thread(target=self._carry_out, args=(work,), daemon=True)
        self.thread.start()

    def _carry_out(self, work: Callable[[], T]) -> None:
        try:
            self.result = work()
        except BaseException as error:  # raised again by `take`
            self.error = error
        finally:
            self.done.set()


class CallQueue(Generic[T]):
    """First in, first out: decisions depend on the answers, never on their speed.

    ``look`` is called while waiting for a result, and may raise to end the wait.
    """

    def __init__(self, look: Callable[[], None]) -> None:
        self._look = look
        self._pending: deque[_PendingCall[T]] = deque()

    @property
    def in_flight(self) -> int:
        return len(self._pending)

    def ask(self, work: Callable[[], T]) -> None:
        self._pending.append(_PendingCall(work))

    def take(self) -> T:
        """The oldest call's result, or its error."""
        call = self._pending[0]
        while not call.done.wait(LOOK_SECONDS):
            self._look()
        self._pending.popleft()
        if call.error is not None:
            raise call.error
        return call.result  # type: ignore[return-value]

    def close(self) -> None:
        """Wait for calls in flight: they cost money, and their events must be recorded."""
        while self._pending:
            self._pending.popleft().thread.join()
