"""Record and replay of calls: a JSONL file per run, a line per call, which is its event in the ledger with the prompt;
secrets have been removed."""

from __future__ import annotations

import json
import threading
from collections import defaultdict, deque
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from pydantic import ValidationError

from inner_loop.events import CallEvent
from inner_loop.models.contract import Message, NoReply
from programs.errors import Corrupt, EnvironmentProblem, NotFound


class Recorder:
    """Writes calls under ``folder``. Threads may share it."""

    def __init__(self, folder: Path, run_id: str) -> None:
        self._path = folder / f"{run_id or 'calls'}.jsonl"
        self._lock = threading.Lock()
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise EnvironmentProblem(f"{folder}: {error.strerror}", hint="METALOOP_RECORD=DIR") from None

    def write(self, event: CallEvent, models: Sequence[str], messages: Sequence[Message]) -> None:
        prompt = {"models": list(models), "messages": [asdict(message) for message in messages]}
        with self._lock, open(self._path, "a", encoding="utf-8") as file:
            file.write(json.dumps({**event.to_record(), "asked": prompt}, ensure_ascii=False) + "\n")


class Recording:
    """The recorded calls of a folder: by run and number if the study is the same, else by the request alone."""

    def __init__(self, folder: Path, run_id: str) -> None:
        if not folder.is_dir():
            raise NotFound(f"{folder}: no recording found", hint="METALOOP_RECORD=DIR makes one")
        self._folder = folder
        own = folder / f"{run_id or 'calls'}.jsonl"
        self._mine = {(event.number, event.request): event for event in _events(own)} if own.is_file() else {}
        self._others: dict[str, deque[CallEvent]] | None = None
        self._lock = threading.Lock()

    def call(self, number: int, request: str) -> CallEvent:
        """The recorded call. Raises NoReply if the request was not recorded."""
        event = self._mine.get((number, request)) or self._of_other_runs(request)
        if event is None:
            hint = "the program, the task, the seed or metaloop changed since the recording: record again"
            raise NoReply(NotFound(f"{self._folder}: contains no reply to call {number} of this run", hint=hint))
        return event

    def _of_other_runs(self, request: str) -> CallEvent | None:
        """An answer to the same request in another run. Each is used once, in the order of the files; the last one
        again."""
        with self._lock:
            if self._others is None:
                self._others = defaultdict(deque)
                for path in sorted(self._folder.glob("*.jsonl")):
                    for event in (event for event in _events(path) if event.status != "failed"):
                        self._others[event.request].append(event)
            left = self._others.get(request)
            return None if not left else left.popleft() if len(left) > 1 else left[0]


def _events(path: Path) -> list[CallEvent]:
    """The complete lines of a recording; a torn last line of a killed run is skipped."""
    events = []
    for number, line in enumerate(path.read_bytes().splitlines(keepends=True), 1):
        try:
            events.append(CallEvent.parse(line))
        except ValidationError as error:
            if line.endswith(b"\n"):
                hint = "record it again"
                raise Corrupt(f"{path}:{number}: not a recorded call: {error.errors()[0]['msg']}", hint=hint) from None
    return events
