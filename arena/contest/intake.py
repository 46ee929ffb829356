"""Stores concurrent uploads in one transaction with one sync; each is answered once it is durable."""

from __future__ import annotations

import queue
import threading
from concurrent.futures import Future

from arena.contest.contest import Contest
from arena.contest.entries import Accepted, Checked, enter
from arena.contest.tables import Person

MOST = 64  # entries per transaction

PendingUpload = tuple[Person, Checked, "Future[Accepted]"]


class Intake:
    """One writer thread, so that threads that render pages never wait for the disk."""

    def __init__(self, contest: Contest) -> None:
        self.contest = contest
        self._waiting: queue.SimpleQueue[PendingUpload] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def take(self, person: Person, read: Checked) -> Future[Accepted]:
        """A future that is done when the entry is durable, or raises what `enter` raises."""
        answer: Future[Accepted] = Future()
        self._waiting.put((person, read, answer))
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._write, name="intake", daemon=True)
                self._thread.start()
        return answer

    def _write(self) -> None:
        while True:
            batch = [self._waiting.get()]
            while len(batch) < MOST and not self._waiting.empty():
                batch.append(self._waiting.get())
            batch = [
                one for one in batch if one[2].set_running_or_notify_cancel()
            ]  # from here a request cannot be cancelled
            if not batch:
                continue
            try:
                stored = self._store(batch)
            except BaseException as error:  # thread boundary: nothing of this transaction is on the disk
                stored = [error] * len(batch)
            for (_, _, answer), outcome in zip(batch, stored, strict=True):
                if isinstance(outcome, BaseException):
                    answer.set_exception(outcome)
                else:
                    answer.set_result(outcome)

    def _store(self, batch: list[PendingUpload]) -> list[Accepted | BaseException]:
        """The outcome of each upload, once the transaction is durable; a rejected one stores nothing."""
        stored: list[Accepted | BaseException] = []
        with self.contest.database.write() as connection:
            for person, read, _ in batch:
                try:
                    with connection.begin_nested():
                        stored.append(enter(connection, self.contest, person, read))
                except Exception as error:
                    stored.append(error)
        return stored
