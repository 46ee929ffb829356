"""Reads a ledger and checks it: each record's own hash, the chain within a segment, and the ends of segments.

A chain does not show that its end was cut off. So a clean end (`Ledger.finish`) writes a segment ``end-N`` of one
record, the heads of all others; `missing` compares them. After a kill there is no such segment.
"""

from __future__ import annotations

import hashlib
import heapq
import itertools
import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from programs.common.bounded import json_value
from programs.common.distribution import DISTRIBUTION
from programs.common.errors import Corrupt, OtherVersion
from programs.common.files import MOST_LINE, irregular, is_regular, lines_of, open_regular
from programs.common.text import one_line

if TYPE_CHECKING:
    from pydantic import JsonValue

Head = tuple[int, str]  # sequence number and hash of a segment's last valid record
SCHEMA = 8  # of a study: its ledger and its study.toml
MARK = b',"hash":"'
TAIL = len(MARK) + 64 + len(b'"}')
FIRST = 256  # bytes of a line, with seq, at and prev
_NAME = re.compile(r"[\w.-]+")
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?(Z|\+00:00)", re.ASCII)
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*(?:"|\\?\Z)', re.DOTALL)
END = "end"  # the writer of segments that contain only the heads of all others


def schema_problem(path: Path | str, schema: object) -> OtherVersion:
    """The error for a study that another version of metaloop made."""
    text = f"{path}: another version of metaloop made this study (schema {schema}, this metaloop reads {SCHEMA})"
    if isinstance(schema, int) and schema > SCHEMA:
        return OtherVersion(text, hint=f"the study is newer than this metaloop: pip install --upgrade {DISTRIBUTION}")
    hint = "the study is older than this metaloop: open it with the version in its study.toml, or start a new study"
    return OtherVersion(text, hint=hint)


def segments(folder: Path | str) -> list[Path]:
    """The segment files of a ledger folder, sorted by name. Raises Corrupt for a link, a pipe, an odd name or the like
    among them, which a study of someone else may contain."""
    paths = sorted(path for path in Path(folder).glob("*.jsonl") if path.is_symlink() or not path.is_dir())
    if odd := next((path for path in paths if not _NAME.fullmatch(path.name)), None):
        raise Corrupt(
            f"{folder}: {one_line(odd.name)!r} is no name of a segment", hint="restore the ledger from a copy"
        )
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
            for _ in _records(path):  # a torn tail is allowed
                pass


def require_whole(folder: Path | str) -> None:
    """Raises Corrupt for the first line of `missing`."""
    for problem in missing(folder):
        raise Corrupt(problem, hint="restore the ledger from a copy, or start a new study")


def sound(path: Path) -> bool:
    """Whether each line has its own hash and names that of the line before."""
    previous = b""
    with open_regular(path) as file:
        for line in lines_of(file):
            body, tail = line[: -TAIL - 1], line[-TAIL - 1 :]
            last = hashlib.sha256(body).hexdigest().encode()
            if tail != MARK + last + b'"}\n':
                return False
            if b'"prev":"' + previous + b'"' not in line[:FIRST]:
                return False
            previous = last
    return True


def check(folder: Path | str) -> list[str]:
    """The problems of a ledger, one line each with file and line number; empty without problems.

    Torn tails are expected and not reported; damaged, reordered or missing records and missing segments are.
    """
    problems: list[str] = []
    chains: dict[str, list[str]] = {}
    heads: list[tuple[str, str, Head]] = []
    for path in segments(folder):
        hashes = chains.setdefault(path.name, [])
        try:
            for record in _records(path):
                hashes.append(str(record["hash"]))
                if record["kind"] == "segment":
                    heads += [(path.name, name, head) for name, head in heads_in(record).items()]
        except Corrupt as error:
            problems.append(error.message)
    for source_segment, name, (seq, sha256) in heads:
        if name in chains and sha256 not in chains[name]:
            problems.append(f"{Path(folder) / name}: record {seq}, which {source_segment} names, is missing")
    return problems + missing(folder)


def missing(folder: Path | str) -> list[str]:
    """A line for each missing segment that another one names, and for each whose end was cut off after a clean end.

    The chain must have been checked before.
    """
    folder = Path(folder)
    problems = []
    for name, segment in {name: path.name for path in segments(folder) for name in _first_heads(path)}.items():
        if not (folder / name).is_file():
            problems.append(f"{folder / name}: this segment is missing; {segment} names it")
    for name, (head, segment) in promised(folder).items():
        if (folder / name).is_file():
            problems.append(_cut(folder / name, *head, segment))
    return sorted(filter(None, problems))


def promised(folder: Path) -> dict[str, tuple[Head, str]]:
    """Segment → its last head that a clean end recorded, and by which segment."""
    ends: dict[str, tuple[Head, str]] = {}
    for path in segments(folder):
        if is_end(path.name):
            for name, head in _first_heads(path).items():
                ends[name] = max(ends.get(name, ((-1, ""), "")), (head, path.name))
    return ends


def recorded_heads(folder: Path) -> list[tuple[str, str, str]]:
    """Of each segment that contains the heads of all others, the oldest first: its name, time and hash."""
    found = [(path.name, record) for path in segments(folder) if is_end(path.name) for record in _records(path)]
    return sorted(
        ((name, str(record["at"]), str(record["hash"])) for name, record in found), key=lambda head: (head[1], head[0])
    )


def unended(folder: Path) -> list[str]:
    """A line for each segment that does not end where the last recorded heads say: records were added to it, or the
    whole segment, or its writer was killed. One whose writer has written nothing yet is passed over."""
    ends, problems = promised(folder), []
    for path in (path for path in segments(folder) if not is_end(path.name)):
        if (last := _last(path)) is None or (last["kind"] == "segment" and last["seq"] == 0):
            continue
        if path.name not in ends or ends[path.name][0] != head_of(last):
            why = f"no {END}-* segment names its last record: it was added later, or its writer was killed"
            problems.append(f"{path}: {why}")
    return problems


def records_after(folder: Path, end: str) -> Iterator[tuple[Path, dict[str, JsonValue]]]:
    """The records that the heads in the segment ``end`` do not cover, each with its file."""
    heads = {**_first_heads(folder / end), end: (0, "")}
    for path in segments(folder):
        last = heads.get(path.name, (-1, ""))[0]
        yield from ((path, record) for record in _records(path) if int(str(record["seq"])) > last)


def is_end(name: str) -> bool:
    return name.startswith(f"{END}-")


def _first_heads(path: Path) -> dict[str, Head]:
    with open_regular(path) as file:
        return heads_in(_of_this_schema(_parse(file.readline(MOST_LINE))))


def _of_this_schema(record: dict[str, JsonValue] | None) -> dict[str, JsonValue]:
    """Empty for any other one, which has been checked for nothing."""
    return record if record and record.get("schema") == SCHEMA else {}


def _cut(path: Path, seq: int, sha256: str, by: str) -> str:
    """One line if a segment lacks the record ``seq`` with that hash; empty if it has it."""
    if (last := _last(path)) and not _of_this_schema(last):
        return ""  # which the check of the chain has reported
    count = head_of(last)[0] + 1 if last else 0
    if count <= seq:
        return f"{path}: {seq + 1 - count} of its {seq + 1} records, which {by} counts, were cut from its end"
    with open_regular(path) as file:
        line = next(itertools.islice(lines_of(file), seq, None), b"")  # without a line, the chain is broken, too
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
                if _is_cut_off(line) and file.read(1) == b"":
                    return
                raise Corrupt(f"{path}:{number}: this record is damaged", hint=hint)
            if record.get("schema") != SCHEMA:
                raise schema_problem(f"{path}:{number}", record.get("schema"))
            if record["seq"] != number - 1 or record["prev"] != previous:
                raise Corrupt(f"{path}:{number}: the chain is broken: a record is missing before it", hint=hint)
            previous = str(record["hash"])
            yield record


def _is_cut_off(line: bytes) -> bool:
    """Whether it is the beginning of a record: the torn tail of a writer that was killed, or a line that a living one
    is about to finish. The tables leave such a line out, too; they would count any whole object."""
    outside = _STRING.sub(b"", line)
    return not line.startswith(b"{") or outside.count(b"{") > outside.count(b"}")


def _parse(line: bytes) -> dict[str, JsonValue] | None:
    """The record of a line, or None if it is not whole. A record of another schema is returned unchecked."""
    whole = line.endswith(b"\n")
    line = line.rstrip(b"\n")
    try:
        record = json_value(line)
    except ValueError:
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
    if not texts or not _TIME.fullmatch(str(record["at"])):
        return False
    if type(record.get("seq")) is not int or (record["kind"] == "segment" and "heads" not in record):
        return False
    try:
        heads_in(record)
    except Corrupt:
        return False
    return True


def state_of(folder: Path | str) -> str:
    """SHA-256 over the last valid record of every segment: ledgers with equal states have the same records."""
    heads = {name: sha256 for name, (_, sha256) in heads_of(Path(folder)).items()}
    return hashlib.sha256(json.dumps(heads, sort_keys=True).encode()).hexdigest()


def heads_of(folder: Path) -> dict[str, Head]:
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


def head_of(record: JsonValue) -> Head:
    """The head of a segment that ends with this record. Raises Corrupt for one without sequence number or hash."""
    if isinstance(record, dict):
        seq, sha256 = record.get("seq"), record.get("hash")
        if type(seq) is int and seq >= 0 and isinstance(sha256, str):
            return seq, sha256
    raise Corrupt(f"not the head of a segment: {record}", hint="restore the ledger from a copy")


def heads_in(record: Mapping[str, JsonValue]) -> dict[str, Head]:
    """The heads that a record lists, by segment. Raises Corrupt."""
    heads = record.get("heads", {})
    if not isinstance(heads, dict):
        raise Corrupt(f"not the heads of segments: {heads}", hint="restore the ledger from a copy")
    return {name: head_of(head) for name, head in heads.items()}
