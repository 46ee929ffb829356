"""Stores what arrives at once in one transaction with one sync; each request is answered once it is durable."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from fastapi import FastAPI, Request, Response
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session as Connection

from arena.serving.database import Database
from arena.serving.problems import unwell

T = TypeVar("T")
MOST = 64  # requests per transaction

PendingRequest = tuple[Callable[[Connection], Any], "Future[Any]"]


class Intake:
    """One writer thread, so that threads that render pages never wait for the disk."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self._waiting: queue.SimpleQueue[PendingRequest] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def take(self, store: Callable[[Connection], T]) -> Future[T]:
        """A future that is done when what ``store`` writes is durable, or raises what ``store`` raises."""
        answer: Future[T] = Future()
        self._waiting.put((store, answer))
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
                request for request in batch if request[1].set_running_or_notify_cancel()
            ]  # from here it cannot be cancelled
            if not batch:
                continue
            try:
                stored = self._store(batch)
            except BaseException as error:  # thread boundary: nothing of this transaction is on the disk
                stored = [error] * len(batch)
            for (_, answer), outcome in zip(batch, stored, strict=True):
                if isinstance(outcome, BaseException):
                    answer.set_exception(outcome)
                else:
                    answer.set_result(outcome)

    def _store(self, batch: list[PendingRequest]) -> list[Any]:
        """The outcome of each request, once the transaction is durable; a rejected one stores nothing."""
        stored: list[Any] = []
        with self.database.write() as connection:
            for store, _ in batch:
                try:
                    with connection.begin_nested():
                        stored.append(store(connection))
                except Exception as error:
                    stored.append(error)
        return stored


def answer_faults(app: FastAPI) -> None:
    """Say so where the disk is full, the folder is gone or a writer is stuck: nothing of the request was stored."""

    @app.exception_handler(OperationalError)
    def disk(request: Request, why: OperationalError) -> Response:
        full = "full" in str(why.orig)
        reason = "the host's disk is full" if full else "the host cannot reach its database"
        return unwell(request, 507 if full else 503, f"{reason}; nothing was stored", str(why.orig))
