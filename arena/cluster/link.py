"""The worker's end of its connection to the driver: it sends events and waits until they are written."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator, Mapping
from typing import TextIO

from pydantic import JsonValue

from analysis.ledger.json_values import plain
from arena.jobs import Job, WorkerMessage, from_json

LOOK_SECONDS = 0.3  # maximum age of the driver's last answer on stopping


class Link:
    """Replaces the ledger in a worker: `append` returns once the driver has written the event to disk.

    Thread-safe: a model gateway records calls while an agent works.
    """

    def __init__(self, channel: TextIO, answers: TextIO) -> None:
        self._channel, self._answers = channel, answers
        self._lock = threading.Lock()
        self._stop, self._answered_at = False, 0.0

    def append(self, event: Mapping[str, JsonValue], sync: bool = True) -> None:
        """Send an event; with ``sync``, wait until it is written."""
        with self._lock:
            self._write_line({"event": plain(event), "wait": sync})
            if sync:
                self._read_answer()

    def send(self, message: WorkerMessage) -> None:
        """Send any other message, except progress, which the driver derives from the events."""
        if "progress" not in message:
            with self._lock:
                self._write_line(message)

    def stopping(self) -> bool:
        """Whether the driver has requested a stop, as of at most LOOK_SECONDS ago."""
        with self._lock:
            if time.monotonic() - self._answered_at > LOOK_SECONDS:
                self._write_line({"ask": "stop", "wait": True})
                self._read_answer()
            return self._stop

    def jobs(self) -> Iterator[Job]:
        """The jobs as they arrive, until the driver closes the connection."""
        while line := self._answers.readline():
            self._stop = False
            yield from_json(json.loads(line))

    def close(self) -> None:
        """Nothing to do: the pipes belong to the process."""

    def _write_line(self, message: WorkerMessage) -> None:
        self._channel.write(json.dumps(message, allow_nan=False) + "\n")
        self._channel.flush()

    def _read_answer(self) -> None:
        line = self._answers.readline()
        if not line:  # the driver is gone, so nothing more can be recorded
            os._exit(1)
        self._stop, self._answered_at = bool(json.loads(line)["stop"]), time.monotonic()
