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
from inner_loop.models.contract import Message
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


def recording(folder: Path, run_id: str) -> dict[tuple[int, str], CallEvent]:
    """The recorded calls of one run, by number and request. A call that was made again counts as it ended last; a torn
    last line of a killed run is skipped."""
    if not folder.is_dir():
        raise NotFound(f"{folder}: no recording found", hint="METALOOP_RECORD=DIR makes one")
    path, calls = folder / f"{run_id or 'calls'}.jsonl", {}
    lines = path.read_bytes().splitlines(keepends=True) if path.is_file() else []
    for number, line in enumerate(lines, 1):
        try:
            event = CallEvent.parse(line)
            calls[event.number, event.request] = event
        except ValidationError as error:
            if line.endswith(b"\n"):
                hint = "record it again"
                raise Corrupt(f"{path}:{number}: not a recorded call: {error.errors()[0]['msg']}", hint=hint) from None
    return calls
