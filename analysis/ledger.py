"""The ledger: append-only JSONL segments, hash-chained, one file per writer and opening.

A line is one record: ``{"seq", "at", "prev", "schema", "kind", ...event, "hash"}``. ``hash`` is SHA-256 over the
bytes of the line before ``,"hash":``, and ``prev`` is the hash of the record before, so that readers detect a
changed or missing record. Nothing is ever rewritten: a writer that resumes opens a new segment, whose first record
lists the last valid head of every existing segment. A torn last line (power cut, kill -9) stays in the file and
readers skip it.

A chain does not show that its end was cut off. So a clean end (`Ledger.finish`) syncs every segment and records their
heads twice: in its own last record, and in a segment that contains nothing else. `missing` compares them. After a
kill there is no such record of the ends.
"""

from __future__ import annotations

import hashlib
import heapq
import itertools
import json
import os
import re
import threading
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from analysis.json_values import plain
from analysis.ledger_heads import Head, as_json, head_of, heads_in
from analysis.ledger_problems import SCHEMA, cannot_write, schema_problem
from programs.closing import Closing
from programs.errors import Corrupt, EnvironmentProblem, UsageError
from programs.files import MOST_LINE, irregular, is_regular, lines_of, open_regular

if TYPE_CHECKING:
    from pydantic import JsonValue

RESERVED = frozenset({"seq", "prev", "hash", "schema"})
MARK = b',"hash":"'
TAIL = len(MARK) + 64 + len(b'"}')
_ENCODE = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode
HEAD = 256  # first bytes of a line, with seq, at and prev
END = "end"  # the writer of segments that contain only the heads of all others


class Ledger(Closing):
    """One writer's segment. Threads of one process may share it; processes may not."""

    def __init__(self, folder: Path | str, writer: str, *, begin: bool = True) -> None:
        """Opens a new segment ``<writer>-<n>.jsonl`` under ``folder`` (created if missing).

        ``begin``: writes the record with the heads of the others; else the segment is empty until `begin` is called.
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
            heads = _heads(self.folder)
            self.path, self._file = _new_segment(self.folder, writer)
        except OSError as error:
            raise cannot_write(self.folder, error) from error
        if begin:
            self.begin(heads)

    def begin(self, heads: Mapping[str, Head]) -> None:
        """Writes the first record: ``heads`` of the other segments."""
        self.append({"kind": "segment", "writer": self.writer, "heads": as_json(heads)})

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
        """Ends cleanly: syncs every segment, records all heads twice and closes this segment.

        If nothing was written since the last such record, it only closes. Raises EnvironmentProblem as `append` does;
        the ledger is then like one whose writer was killed.
        """
        if self._seq == 1 and self._nothing_new():
            self.close()
            return
        with Ledger(self.folder, END, begin=False) as end:
            try:
                for path in segments(self.folder):  # sync first: a power cut must not remove recorded heads
                    sync_file(path)
            except OSError as error:
                raise cannot_write(self.folder, error) from error
            self.append({"kind": "closed", "heads": as_json(_heads(self.folder)), "named_again_in": end.path.name})
            self.close()
            end.begin(_heads(self.folder))

    def _nothing_new(self) -> bool:
        """Whether every segment with more than its first record ends at its last recorded head."""
        promised, heads = _promised(self.folder)[0], _heads(self.folder)
        return all(promised.get(name, ())[:2] == head for name, head in heads.items() if head[0] > 0)

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def segments(folder: Path | str) -> list[Path]:
    """The segment files of a ledger folder, sorted by name. Raises Corrupt for a link, a pipe or the like among them,
    which a study of someone else may contain."""
    paths = sorted(path for path in Path(folder).glob("*.jsonl") if path.is_symlink() or not path.is_dir())
    if strange := next((path for path in paths if os.path.lexists(path) and not is_regular(path)), None):
        raise irregular(strange)
    return paths


def read(folder: Path | str) -> Iterator[dict[str, JsonValue]]:
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


def require_whole(folder: Path | str) -> None:
    """Raises Corrupt for the first line of `missing`."""
    for problem in missing(folder):
        raise Corrupt(problem, hint="restore the ledger from a copy, or start a new study")


def refuse(path: Path) -> None:
    """Raises Corrupt for the first damaged or missing record of a segment; a torn tail is allowed."""
    for _ in _records(path):
        pass


def sound(path: Path) -> bool:
    """Whether each line has its own hash and names that of the line before."""
    previous = b""
    with open_regular(path) as file:
        for line in lines_of(file):
            body, tail = line[: -TAIL - 1], line[-TAIL - 1 :]
            last = hashlib.sha256(body).hexdigest().encode()
            if tail != MARK + last + b'"}\n':
                return False
            if b'"prev":"' + previous + b'"' not in line[:HEAD]:
                return False
            previous = last
    return True


def check(folder: Path | str) -> list[str]:
    """The problems of a ledger, one line each with file and line number; empty without problems.

    Torn tails are expected and not reported; damaged, reordered or missing records and missing segments are.
    """
    problems: list[str] = []
    chains: dict[str, list[str]] = {}
    named: list[tuple[str, str, Head]] = []
    for path in segments(folder):
        hashes: list[str] = []
        try:
            for record in _records(path):
                hashes.append(str(record["hash"]))
                if record["kind"] == "segment":
                    named += [(path.name, name, head) for name, head in heads_in(record).items()]
        except Corrupt as error:
            problems.append(error.message)
        chains[path.name] = hashes
    for by, name, (seq, sha256) in named:
        if name in chains and sha256 not in chains[name]:
            problems.append(f"{Path(folder) / name}: record {seq}, which {by} names, is missing")
    return problems + missing(folder)


def missing(folder: Path | str) -> list[str]:
    """A line for each missing segment that another one names, and for each whose end was cut off.

    Ends are compared with the records of `Ledger.finish`, if it was called; the chain must have been checked before.
    """
    folder = Path(folder)
    promised, named = _promised(folder)
    gone = {name: by for name, by in named.items() if not (folder / name).is_file()}
    problems = [f"{folder / name}: this segment is missing; {by} names it" for name, by in gone.items()]
    problems += [_cut(folder / name, *end) for name, end in promised.items() if name not in gone]
    return sorted(filter(None, problems))


def _promised(folder: Path) -> tuple[dict[str, tuple[int, str, str]], dict[str, str]]:
    """(segment → its last head that a clean end recorded: seq, hash, by which segment; segment → one that names it)."""
    ends: dict[str, tuple[int, str, str]] = {}
    named: dict[str, str] = {}
    for path in segments(folder):
        with open_regular(path) as file:
            first = heads_in(_of_this_schema(_parse(file.readline(MOST_LINE))))
        last = _of_this_schema(_last(path))
        closed = last if last.get("kind") == "closed" else {}
        names = [*first, *heads_in(closed), str(closed.get("named_again_in", path.name))]
        named |= dict.fromkeys(names, path.name)
        for heads in (first if _is_end(path.name) else {}, heads_in(closed)):
            for name, head in heads.items():
                ends[name] = max(ends.get(name, (-1, "", "")), (*head, path.name))
    return ends, named


def _of_this_schema(record: dict[str, JsonValue] | None) -> dict[str, JsonValue]:
    """Empty for any other one, which has been checked for nothing."""
    return record if record and record.get("schema") == SCHEMA else {}


def _is_end(name: str) -> bool:
    return name.startswith(f"{END}-")


def _cut(path: Path, seq: int, sha256: str, by: str) -> str:
    """One line if a segment lacks the record ``seq`` with that hash; empty if it has it."""
    if (last := _last(path)) and not _of_this_schema(last):
        return ""  # which the check of the chain has reported
    count = head_of(last)[0] + 1 if last else 0
    if count <= seq:
        return f"{path}: {seq + 1 - count} of its {seq + 1} records, which {by} counts, were cut from its end"
    with open_regular(path) as file:
        line = next(itertools.islice(lines_of(file), seq, None))
    if line.rstrip(b"\n")[-TAIL:] == MARK + sha256.encode() + b'"}':
        return ""
    return f"{path}:{seq + 1}: this is not the record that {by} names: the end was replaced"


def _records(path: Path) -> Iterator[dict[str, JsonValue]]:
    previous = ""
    hint = f"restore {path.name} from a copy"
    with open_regular(path) as file:
        for number, line in enumerate(lines_of(file), 1):
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
            previous = str(record["hash"])
            yield record


def _parse(line: bytes) -> dict[str, JsonValue] | None:
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


def _complete(record: Mapping[str, JsonValue]) -> bool:
    """Whether a record has the fields that readers need: a valid hash only shows that it was not changed."""
    texts = all(isinstance(record.get(name), str) for name in ("at", "prev", "kind"))
    if not texts or type(record.get("seq")) is not int or (record["kind"] == "segment" and "heads" not in record):
        return False
    try:
        heads_in(record)
    except Corrupt:
        return False
    return True


def state_of(folder: Path | str) -> str:
    """SHA-256 over the last valid record of every segment: ledgers with equal states have the same records."""
    heads = {name: sha256 for name, (_, sha256) in _heads(Path(folder)).items()}
    return hashlib.sha256(json.dumps(heads, sort_keys=True).encode()).hexdigest()


def _heads(folder: Path) -> dict[str, Head]:
    """The head of every segment there is, by its name."""
    heads = {}
    for path in segments(folder):
        record = _last(path)
        if record is not None:
            if record.get("schema") != SCHEMA:
                raise schema_problem(path, record.get("schema"))
            heads[path.name] = head_of(record)
    return heads


def _last(path: Path, block: int = 1 << 16) -> dict[str, JsonValue] | None:
    """The last valid record of a segment, read from its end so that opening stays cheap."""
    size = path.stat().st_size
    with open_regular(path) as file:
        while True:
            start = max(0, size - block)
            file.seek(start)
            lines = file.read(size - start).splitlines(keepends=True)
            for line in reversed(lines[1:] if start else lines):
                record = _parse(line)
                if record is not None:
                    return record
            if start == 0 or block > MOST_LINE:
                return None
            block *= 8


def sync_file(path: Path) -> None:
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
