"""The ledger: append-only JSONL segments, hash-chained, one file per writer and opening.

A line is one record: ``{"seq", "at", "prev", "schema", "kind", ...event, "hash"}``. ``hash`` is SHA-256 over the
bytes of the line before ``,"hash":``, and ``prev`` is the hash of the record before, so that a changed or missing
record is noticed. Nothing is ever rewritten: a writer that comes back opens a new segment, whose first record
names the last valid head of every segment it found. A torn last line (power cut, kill -9) stays where it is and is
skipped by readers.
"""

from __future__ import annotations

import errno
import hashlib
import heapq
import json
import math
import os
import re
import threading
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from programs.errors import Corrupt, EnvironmentProblem, MetaloopError, UsageError

SCHEMA = 1
RESERVED = frozenset({"seq", "prev", "hash", "schema"})
MARK = b',"hash":"'
TAIL = len(MARK) + 64 + len(b'"}')
_ENCODE = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode
HEAD = 256  # bytes of a line that hold seq, at and prev


class Ledger:
    """One writer's segment. Threads of one process may share it; processes may not."""

    def __init__(self, folder: Path | str, writer: str) -> None:
        """Opens a new segment ``<writer>-<n>.jsonl`` under ``folder`` (created if missing).

        Raises Corrupt where a segment has another schema, EnvironmentProblem where it cannot be written.
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
            self.folder.mkdir(parents=True, exist_ok=True)
            heads = _heads(self.folder)
            self.path, self._file = _new_segment(self.folder, writer)
        except OSError as error:
            raise _cannot_write(self.folder, error) from error
        self.append({"kind": "segment", "writer": writer, "heads": heads})

    def append(self, event: Mapping[str, Any], sync: bool = True) -> dict[str, Any]:
        """Writes one event and returns its record; with ``sync`` it is on disk on return (2 to 4 ms).

        The event needs a ``kind``; it may bring its own ``at`` (UTC, ISO 8601). Numbers that JSON lacks
        (NaN, infinity) are stored as null. Raises EnvironmentProblem on a full or broken disk: the segment then
        ends with its last whole record.
        """
        with self._lock:
            line, last = self._line(event, _now())
            self._write(line, sync)
            self._seq, self._prev = self._seq + 1, last
        record: dict[str, Any] = json.loads(line)
        return record

    def extend(self, events: Iterable[Mapping[str, Any]], sync: bool = True) -> None:
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

    def _line(self, event: Mapping[str, Any], now: Any) -> tuple[bytes, str]:
        """The next record's line and its hash; the chain goes on from it only once it is written."""
        if "kind" not in event or not RESERVED.isdisjoint(event):
            raise ValueError(f"a ledger event needs 'kind' and may not bring {sorted(RESERVED)}")
        now = event.get("at", now)
        body = event if "at" not in event else {key: value for key, value in event.items() if key != "at"}
        try:
            text = _ENCODE(body)
        except (TypeError, ValueError):  # numpy scalars, paths, numbers that JSON lacks
            text = _ENCODE(plain(body))
        data = f'{{"seq":{self._seq},"at":{_ENCODE(now)},"prev":"{self._prev}","schema":{SCHEMA},{text[1:-1]}'
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
            raise _cannot_write(self.path, error) from error
        self._size += len(line)

    def _take_back(self) -> None:
        """Cuts a half-written line off, so that the same writer may go on once there is room again."""
        try:
            os.ftruncate(self._file, self._size)
        except OSError:  # the torn tail stays; going on behind it would hide every later record
            self.close()

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def segments(folder: Path | str) -> list[Path]:
    """The segment files of a ledger folder, sorted by name."""
    return sorted(path for path in Path(folder).glob("*.jsonl") if path.is_file())


def read(folder: Path | str) -> Iterator[dict[str, Any]]:
    """Every valid record of every segment, oldest first (by ``at``; within a segment in order of writing).

    A torn tail is skipped. Raises Corrupt, with file and line, for a damaged record before the tail or another schema.
    """
    yield from heapq.merge(*map(_records, segments(folder)), key=lambda record: str(record["at"]))


def verify(folder: Path | str) -> None:
    """Raises Corrupt, with file and line, for the first damaged or missing record or another schema, as `read` does.

    A sound segment is only hashed, not parsed: 2 ms a megabyte.
    """
    for path in segments(folder):
        if not sound(path):
            refuse(path)


def refuse(path: Path) -> None:
    """Raises Corrupt for the first damaged or missing record of a segment; a torn tail is none."""
    for _ in _records(path):
        pass


def sound(path: Path) -> bool:
    """Whether each line has its own hash and names that of the line before."""
    previous = b""
    with path.open("rb") as file:
        for line in file:
            body, tail = line[: -TAIL - 1], line[-TAIL - 1 :]
            last = hashlib.sha256(body).hexdigest().encode()
            if tail != MARK + last + b'"}\n':
                return False
            if b'"prev":"' + previous + b'"' not in line[:HEAD]:
                return False
            previous = last
    return True


def check(folder: Path | str) -> list[str]:
    """What is wrong with a ledger, one line each with file and line number; empty if all is well.

    Torn tails are expected and not reported; damaged, reordered or missing records and missing segments are.
    """
    problems: list[str] = []
    found: dict[str, list[str]] = {}
    named: list[tuple[str, str, Mapping[str, Any]]] = []
    for path in segments(folder):
        hashes: list[str] = []
        try:
            for record in _records(path):
                hashes.append(record["hash"])
                if record["kind"] == "segment":
                    named += [(path.name, name, head) for name, head in record["heads"].items()]
        except Corrupt as error:
            problems.append(error.message)
        found[path.name] = hashes
    for by, name, head in named:
        if name in found and head["hash"] not in found[name]:
            problems.append(f"{Path(folder) / name}: record {head['seq']}, which {by} names, is missing")
    return problems + missing_segments(folder)


def missing_segments(folder: Path | str) -> list[str]:
    """A line for each segment that another one names and that is not there."""
    found = segments(folder)
    names = {path.name for path in found}
    gone: dict[str, str] = {}
    for path in found:
        with path.open("rb") as file:
            first = _parse(file.readline()) or {}
        gone |= {name: path.name for name in first.get("heads", {}) if name not in names}
    return [f"{Path(folder) / name}: this segment is missing; {by} names it" for name, by in sorted(gone.items())]


def schema_problem(path: Path | str, schema: object) -> MetaloopError:
    """The one clear line for a ledger that another version of metaloop has written."""
    text = f"{path}: ledger schema {schema}, this metaloop reads schema {SCHEMA}"
    if isinstance(schema, int) and schema > SCHEMA:
        return Corrupt(text, hint="the study is newer than this metaloop: pip install --upgrade metaloop")
    hint = "the study is older than this metaloop: open it with the version in its study.toml, or start anew"
    return Corrupt(text, hint=hint)


def _records(path: Path) -> Iterator[dict[str, Any]]:
    previous = ""
    hint = f"restore {path.name} from a copy; without it, what the other segments hold can still be looked at"
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            record = _parse(line)
            if record is None:
                # The torn tail of a writer that was killed, or a line that a living one is about to finish.
                if not line.endswith(b"\n") or file.read(1) == b"":
                    return
                raise Corrupt(f"{path}:{number}: this record is damaged", hint=hint)
            if record.get("schema") != SCHEMA:
                raise schema_problem(f"{path}:{number}", record.get("schema"))
            if record["seq"] != number - 1 or record["prev"] != previous:
                raise Corrupt(f"{path}:{number}: the chain is broken: a record is missing before it", hint=hint)
            previous = record["hash"]
            yield record


def _parse(line: bytes) -> dict[str, Any] | None:
    """The record of a line, or None if it is not whole. A record of another schema is returned unchecked."""
    whole = line.endswith(b"\n")
    line = line.rstrip(b"\n")
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(record, dict):
        return None
    if record.get("schema") != SCHEMA and whole:
        return record
    signed = line[-TAIL:].startswith(MARK)
    if not signed or hashlib.sha256(line[:-TAIL]).hexdigest() != record.get("hash"):
        return None
    return record if _complete(record) else None


def _complete(record: Mapping[str, Any]) -> bool:
    """Whether a record has what its readers count on: a right hash only says that nothing changed since it was made."""
    texts = all(isinstance(record.get(name), str) for name in ("at", "prev", "kind"))
    heads = record.get("heads", None if record.get("kind") == "segment" else {})
    if not texts or not isinstance(record.get("seq"), int) or not isinstance(heads, dict):
        return False
    return all(isinstance(head, dict) and {"seq", "hash"} <= head.keys() for head in heads.values())


def state_of(folder: Path | str) -> str:
    """SHA-256 over the last valid record of every segment: two ledgers of one state hold the same records."""
    heads = {name: head["hash"] for name, head in _heads(Path(folder)).items()}
    return hashlib.sha256(json.dumps(heads, sort_keys=True).encode()).hexdigest()


def _heads(folder: Path) -> dict[str, dict[str, Any]]:
    """Last valid record of every segment there is: name → {seq, hash}."""
    heads = {}
    for path in segments(folder):
        record = _last(path)
        if record is not None:
            if record.get("schema") != SCHEMA:
                raise schema_problem(path, record.get("schema"))
            heads[path.name] = {"seq": record["seq"], "hash": record["hash"]}
    return heads


def _last(path: Path, block: int = 1 << 16) -> dict[str, Any] | None:
    """The last valid record of a segment, read from its end so that opening stays cheap."""
    size = path.stat().st_size
    with path.open("rb") as file:
        while True:
            start = max(0, size - block)
            file.seek(start)
            lines = file.read(size - start).splitlines(keepends=True)
            for line in reversed(lines[1:] if start else lines):
                record = _parse(line)
                if record is not None:
                    return record
            if start == 0:
                return None
            block *= 8


def _new_segment(folder: Path, writer: str) -> tuple[Path, int]:
    pattern = re.compile(re.escape(writer) + r"-(\d+)")
    taken = [int(match[1]) for path in segments(folder) if (match := pattern.fullmatch(path.stem))]
    number = max(taken, default=0) + 1
    while True:
        path = folder / f"{writer}-{number}.jsonl"
        try:
            return path, os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o644)
        except FileExistsError:  # another process took this number in the meantime
            number += 1


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def plain(value: Any) -> Any:
    """Value as JSON knows it: mappings, lists, numpy scalars; NaN and infinities become null."""
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item) for item in (sorted(value) if isinstance(value, (set, frozenset)) else value)]
    if hasattr(value, "item"):  # a numpy scalar
        return plain(value.item())
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    raise TypeError(f"the ledger cannot store a {type(value).__name__}")


def _cannot_write(path: Path, error: OSError) -> EnvironmentProblem:
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    what = "the disk is full" if full else (error.strerror or str(error))
    cure = "free some space there" if full else "make the folder writable"
    hint = f"{cure}, then run the same command again"
    return EnvironmentProblem(f"{path}: cannot write the ledger: {what}", hint=hint)
