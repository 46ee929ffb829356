"""Record and replay of calls: a JSONL file per run, a line per call, which is its event in the ledger with the prompt;
secrets have been removed."""

from __future__ import annotations

import json
import threading
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
    """The recorded calls of one run. A call that was made again counts as it ended last."""

    def __init__(self, folder: Path, run_id: str) -> None:
        if not folder.is_dir():
            raise NotFound(f"{folder}: no recording found", hint="METALOOP_RECORD=DIR makes one")
        self._path = folder / f"{run_id or 'calls'}.jsonl"
        events = _events(self._path) if self._path.is_file() else []
        self._calls = {(event.number, event.request): event for event in events}

    def call(self, number: int, request: str) -> CallEvent:
        """Raises NoReply if the request was not recorded."""
        event = self._calls.get((number, request))
        if event is None:
            hint = "the program, the task, the seed or metaloop changed since the recording: record again"
            raise NoReply(NotFound(f"{self._path}: contains no reply to call {number} of this run", hint=hint))
        return event


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
