"""The lines of all segments of a ledger, oldest first, each checked against its chain on the way."""

from __future__ import annotations

import hashlib
import heapq
import json
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from analysis.ledger import HEAD, MARK, TAIL, refuse

if TYPE_CHECKING:
    import pyarrow  # type: ignore[import-untyped]

BATCH, PIECES = 49_152, 4  # lines that are handed on at once (some 45 MB), and in how many pieces for as many threads
_AT, _TIME = b'"at":"', len("2026-01-01T00:00:00.000000Z")


class Disordered(Exception):
    """The lines cannot be merged in order while reading; the caller has to sort the parsed records instead."""


def batches(files: Sequence[Path]) -> Iterator[pyarrow.Table]:
    """Tables of columns place (int64, from 1), segment and record (text), in order of time, segment and place in it.

    The order is right if every writer's clock went forward; the caller checks that with the parsed times.
    Raises Corrupt as `ledger.verify` does, Disordered for a line that another program must have written.
    """
    import pyarrow as pa

    lines = heapq.merge(*map(_lines, files))
    position = 1
    while batch := list(islice(lines, BATCH)):
        step = -(-len(batch) // PIECES)
        try:
            pieces = [_piece(batch[start : start + step], position + start) for start in range(0, len(batch), step)]
        except (pa.ArrowInvalid, UnicodeDecodeError) as error:
            raise Disordered(str(error)) from error
        position += len(batch)
        yield pa.Table.from_batches(pieces)


def _piece(lines: Sequence[tuple[bytes, str, bytes]], first: int) -> pyarrow.RecordBatch:
    import pyarrow as pa

    json_text = {"ARROW:extension:name": "arrow.json", "ARROW:extension:metadata": ""}
    columns = [pa.field("place", pa.int64()), pa.field("segment", pa.string())]
    columns.append(
        pa.field("record", pa.string(), metadata=json_text)
    )  # so that DuckDB need not check whether it is JSON
    positions = pa.array(range(first, first + len(lines)), pa.int64())
    names = pa.array([name for _, name, _ in lines], pa.string())
    texts = pa.array([line for _, _, line in lines], pa.string())
    return pa.RecordBatch.from_arrays([positions, names, texts], schema=pa.schema(columns))


def _lines(path: Path) -> Iterator[tuple[bytes, str, bytes]]:
    """(time, file, line without its end) of every record of a segment."""
    previous, name, sha256 = b"", path.name, hashlib.sha256
    with path.open("rb", buffering=1 << 20) as file:
        for line in file:
            body, tail = line[: -TAIL - 1], line[-TAIL - 1 :]
            last = sha256(body).hexdigest().encode()
            start = line.find(_AT, 0, 32) + len(_AT)
            if tail != MARK + last + b'"}\n' or b'"prev":"' + previous + b'"' not in line[:HEAD]:
                _torn(path, line)
                return
            if line[start + _TIME : start + _TIME + 1] != b'"':
                raise Disordered(f"{path}: a time of another form")
            previous = last
            yield line[start : start + _TIME], name, line[:-1]


def _torn(path: Path, line: bytes) -> None:
    """Returns where a line that is not sound is the torn tail of a writer that was killed."""
    refuse(path)
    try:
        json.loads(line)
    except ValueError:
        return
    raise Disordered(f"{path}: an unusual last line")
