"""Record and replay of exchanges: a JSONL file per run, a line per call; secrets have been removed."""

from __future__ import annotations

import json
import threading
from collections import defaultdict, deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from inner_loop.models.call import Call, CallSpend
from inner_loop.models.context_size import note_settings
from inner_loop.models.contract import NoReply, Reply
from inner_loop.models.tools import called
from inner_loop.run_context import ModelConfig
from programs.errors import Corrupt, EnvironmentProblem, NotFound


@dataclass(frozen=True)
class RecordedCall:
    """A line of a recording; ``reply`` is the reason if no model answered."""

    number: int
    request: str
    reply: Reply | str
    spent: CallSpend


class Recorder:
    """Writes requests and replies under ``folder``. Threads may share it."""

    def __init__(self, folder: Path, run_id: str, config: ModelConfig) -> None:
        self._path = folder / f"{run_id or 'calls'}.jsonl"
        self._lock = threading.Lock()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            note_settings(folder, config)
        except OSError as error:
            raise EnvironmentProblem(f"{folder}: {error.strerror}", hint="METALOOP_RECORD=DIR") from None

    def write(self, call: Call, models: Sequence[str], reply: Reply) -> None:
        request_body = {"models": list(models), "messages": [asdict(message) for message in call.messages]}
        spent = call.spent()
        self._write(request=call.request, number=call.number, asked=request_body, reply=asdict(reply), spent=spent)

    def write_silence(self, call: Call, reason: str) -> None:
        """Record that no model answered: the study may have continued without a reply."""
        spent = call.spent() | {"attempts": call.attempts}
        self._write(request=call.request, number=call.number, silence=reason, spent=spent)

    def _write(self, **line: object) -> None:
        with self._lock, open(self._path, "a", encoding="utf-8") as file:
            file.write(json.dumps(line, ensure_ascii=False) + "\n")


class RecordedReplies:
    """The recorded replies of a folder: by run and number if the study is the same, else by the request alone."""

    def __init__(self, folder: Path, run_id: str) -> None:
        if not folder.is_dir():
            raise NotFound(f"{folder}: no recording found", hint="METALOOP_RECORD=DIR makes one")
        self._folder = folder
        self._mine = {(line.number, line.request): line for line in _lines(folder / f"{run_id or 'calls'}.jsonl")}
        self._others: dict[str, deque[RecordedCall]] | None = None
        self._lock = threading.Lock()

    def reply(self, number: int, request: str) -> tuple[Reply | str, CallSpend]:
        """The reply, or why there was none, and the cost of all attempts. Raises NoReply if the request was not
        recorded."""
        entry = self._mine.get((number, request)) or self._from_other_runs(request)
        if entry is None:
            hint = "the program, the task, the seed or metaloop changed since the recording: record again"
            raise NoReply(NotFound(f"{self._folder}: contains no reply to call {number} of this run", hint=hint))
        return entry.reply, entry.spent

    def _from_other_runs(self, request: str) -> RecordedCall | None:
        """A reply to the same request in another run. Each is used once, in the order of the files; the last one
        again."""
        with self._lock:
            if self._others is None:
                self._others = defaultdict(deque)
                for path in sorted(self._folder.glob("*.jsonl")):
                    for line in (line for line in _lines(path) if isinstance(line.reply, Reply)):
                        self._others[line.request].append(line)
            left = self._others.get(request)
            return None if not left else left.popleft() if len(left) > 1 else left[0]


def _lines(path: Path) -> list[RecordedCall]:
    """The complete lines of a recording; a torn last line of a killed run is skipped."""
    entries: list[RecordedCall] = []
    text = path.read_text("utf-8") if path.is_file() else ""
    for number, line in enumerate(text.splitlines(), 1):
        try:
            entry = json.loads(line)
            if "silence" in entry:
                reply = entry["silence"]
            else:
                reply = Reply(**{**entry["reply"], "calls": called(entry["reply"].get("calls"))})
            entries.append(RecordedCall(entry["number"], entry["request"], reply, entry["spent"]))
        except (ValueError, KeyError, TypeError) as error:
            if number < text.count("\n") + 1 and text.endswith("\n"):
                raise Corrupt(f"{path}:{number}: not a recorded call: {error}", hint="record it again") from None
    return entries
