"""The ledger: append-only JSONL segments, hash-chained, one file per writer and opening.

A line is one record: ``{"seq", "at", "prev", "schema", "kind", ...event, "hash"}``. ``hash`` is SHA-256 over the
bytes of the line before ``,"hash":``, and ``prev`` is the hash of the record before, so that readers detect a
changed or missing record. Nothing is ever rewritten: a writer that resumes opens a new segment, whose first record
lists the last valid head of every existing segment. A torn last line (power cut, kill -9) stays in the file and
readers skip it.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import threading
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from analysis.ledger.json_values import plain
from analysis.ledger.reading import END, SCHEMA, heads_of, promised, segments
from programs.common.closing import Closing
from programs.common.errors import EnvironmentProblem, UsageError

if TYPE_CHECKING:
    from pydantic import JsonValue

RESERVED = frozenset({"seq", "prev", "hash", "schema"})
_ENCODE = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode


class Ledger(Closing):
    """One writer's segment. Threads of one process may share it; processes may not."""

    def __init__(self, folder: Path | str, writer: str) -> None:
        """Opens a new segment ``<writer>-<n>.jsonl`` under ``folder`` (created if missing).

        Raises Corrupt if a segment has another schema, EnvironmentProblem if it cannot be written.
        """
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", writer):
            raise UsageError(f"bad ledger writer name {writer!r}", hint="use letters, digits, '.', '_' and '-'")
        self.folder = Path(folder)
        self.writer = writer
        self._lock = threading.Lock()
        self._seq = 0
        self._prev = ""
        self._size = 0
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            heads = heads_of(self.folder)
            self.path, self._file = _new_segment(self.folder, writer)
        except OSError as error:
            raise cannot_write(self.folder, error) from error
        listed: dict[str, JsonValue] = {name: {"seq": seq, "hash": sha256} for name, (seq, sha256) in heads.items()}
        self.append({"kind": "segment", "writer": writer, "heads": listed})

    def append(self, event: Mapping[str, JsonValue], sync: bool = True) -> dict[str, JsonValue]:
        """Writes one event and returns its record; with ``sync`` it is on disk on return (2 to 4 ms).

        The event needs a ``kind``; it may bring its own ``at`` (UTC, ISO 8601). Numbers that JSON lacks
        (NaN, infinity) are stored as null. Raises EnvironmentProblem on a full or broken disk: the segment then
        ends with its last whole record.
        """
        with self._lock:
            line, last = self._line(event, _now())
            self._write(line, sync)
            self._seq, self._prev = self._seq + 1, last
        record: dict[str, JsonValue] = json.loads(line)
        return record

    def extend(self, events: Iterable[Mapping[str, JsonValue]], sync: bool = True) -> None:
        """Writes many events at once, under one time unless they bring their own; all of them, or none on an error."""
        with self._lock:
            lines, now, before = [], _now(), (self._seq, self._prev)
            try:
                for event in events:
                    line, last = self._line(event, now)
                    lines.append(line)
                    self._seq, self._prev = self._seq + 1, last
                self._write(b"".join(lines), sync)
            except BaseException:
                self._seq, self._prev = before
                raise

    def _line(self, event: Mapping[str, JsonValue], now: str) -> tuple[bytes, str]:
        """The next record's line and its hash; the chain goes on from it only once it is written."""
        if "kind" not in event or not RESERVED.isdisjoint(event):
            raise ValueError(f"a ledger event needs 'kind' and may not bring {sorted(RESERVED)}")
        at = event.get("at", now)
        body = event if "at" not in event else {key: value for key, value in event.items() if key != "at"}
        try:
            text = _ENCODE(body)
        except (TypeError, ValueError):  # numpy scalars, paths, numbers that JSON lacks
            text = _ENCODE(plain(body))
        data = f'{{"seq":{self._seq},"at":{_ENCODE(at)},"prev":"{self._prev}","schema":{SCHEMA},{text[1:-1]}'
        raw = data.encode("utf-8", "replace")
        last = hashlib.sha256(raw).hexdigest()
        return b'%b,"hash":"%b"}\n' % (raw, last.encode()), last

    def _write(self, line: bytes, sync: bool) -> None:
        if self._file < 0:
            hint = "open the study again to go on in a new segment"
            raise EnvironmentProblem(f"{self.path}: this ledger segment is closed", hint=hint)
        try:
            done = 0
            while done < len(line):  # a write that fills the disk may be short before the next one fails
                done += os.write(self._file, line[done:])
            if sync:
                os.fsync(self._file)
        except OSError as error:
            self._take_back()
            raise cannot_write(self.path, error) from error
        self._size += len(line)

    def _take_back(self) -> None:
        """Cuts off a half-written line, so that the same writer can continue once there is space again."""
        try:
            os.ftruncate(self._file, self._size)
        except OSError:  # the torn tail stays; writing after it would hide every later record
            self.close()

    def finish(self) -> None:
        """Ends cleanly: closes this segment, syncs every one and records all heads in a segment of their own.

        If nothing was written since the last such record, it only closes. Raises EnvironmentProblem as `append` does;
        the ledger is then like one whose writer was killed.
        """
        self.close()
        if not self._nothing_new():
            self.record_heads()

    def record_heads(self) -> tuple[str, str]:
        """Sync every segment, also those that other writers go on with, and record all heads in a segment of their own.
        Returns its file name and its hash, which commits to all records before it. Raises as `append` does."""
        try:
            for path in segments(self.folder):  # a power cut must not remove what is recorded
                _sync(path)
        except OSError as error:
            raise cannot_write(self.folder, error) from error
        end = Ledger(self.folder, END)
        end.close()
        return end.path.name, end._prev

    def _nothing_new(self) -> bool:
        """Whether every segment with more than its first record ends at its last recorded head."""
        ends, nothing = promised(self.folder), ((-1, ""), "")
        return all(ends.get(name, nothing)[0] == head for name, head in heads_of(self.folder).items() if head[0] > 0)

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _new_segment(folder: Path, writer: str) -> tuple[Path, int]:
    pattern = re.compile(re.escape(writer) + r"-(\d+)")
    taken = [int(match[1]) for path in segments(folder) if (match := pattern.fullmatch(path.stem))]
    number = max(taken, default=0) + 1
    while True:
        path = folder / f"{writer}-{number}.jsonl"
        try:
            return path, os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        except FileExistsError:  # another process took this number in the meantime
            number += 1


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def cannot_write(path: Path, error: OSError) -> EnvironmentProblem:
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    what = "the disk is full" if full else (error.strerror or str(error))
    cure = "free some space there" if full else "make the folder writable"
    hint = f"{cure}, then run the same command again"
    return EnvironmentProblem(f"{path}: cannot write the ledger: {what}", hint=hint)
