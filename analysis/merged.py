"""The lines of all segments of a ledger, oldest first, each checked against its chain on the way.

Segments are in order already, so they are merged block by block: of each the lines up to the earliest end of a block.
Only the hashes take a step of Python per line; times and hashes are compared in arrays.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from analysis.ledger import MARK, TAIL, refuse

if TYPE_CHECKING:
    import numpy as np
    import pyarrow  # type: ignore[import-untyped]
    from numpy.typing import NDArray

    Ints = NDArray[np.int64]

BATCH, PIECES = 49_152, 4  # lines that are handed on at once (some 45 MB), and in how many pieces for as many threads
BLOCK = 32 << 20  # bytes read at once of all segments together
_SEQ = b'{"seq":'  # and a number, then:
_HEAD = b',"at":"2026-01-01T00:00:00.000000Z","prev":"' + bytes(64) + b'"'
_TIME, _LAST = slice(7, 33), slice(44, 108)


class Disordered(Exception):
    """The lines cannot be merged in order while reading; the caller has to sort the parsed records instead."""


@dataclass
class _Block:
    """Lines of a segment. ``texts`` has two entries for each: the line without its end, and the end."""

    times: Ints  # microseconds
    texts: pyarrow.StringArray


def batches(files: Sequence[Path]) -> Iterator[pyarrow.Table]:
    """Tables of columns place (int64, from 1), segment and record (text), in order of time, segment and place in it.

    The order is right if every writer's clock went forward; the caller checks that with the parsed times.
    Raises Corrupt as `ledger.verify` does, Disordered for a line that another program must have written.
    """
    import pyarrow as pa

    files = sorted(files, key=lambda path: path.name)
    json_text = {"ARROW:extension:name": "arrow.json", "ARROW:extension:metadata": ""}
    record = pa.field("record", pa.string(), metadata=json_text)  # so that DuckDB need not check whether it is JSON
    schema = pa.schema([pa.field("place", pa.int64()), pa.field("segment", pa.string()), record])
    names, position = pa.array([path.name for path in files], pa.string()), 1
    ready: list[pyarrow.RecordBatch] = []
    for segment, texts in _merged(files):
        positions = pa.array(range(position, position + len(segment)), pa.int64())
        position += len(segment)
        ready.append(pa.RecordBatch.from_arrays([positions, names.take(segment), texts], schema=schema))
        if sum(map(len, ready)) >= BATCH:
            yield _pieces(ready)
            ready = []
    if ready:
        yield _pieces(ready)


def _pieces(ready: Sequence[pyarrow.RecordBatch]) -> pyarrow.Table:
    import pyarrow as pa

    return pa.Table.from_batches(pa.Table.from_batches(ready).to_batches(max_chunksize=BATCH // PIECES))


def _merged(files: Sequence[Path]) -> Iterator[tuple[pyarrow.Array, pyarrow.StringArray]]:
    """(number of the segment, line) of the next lines, again and again."""
    import numpy as np
    import pyarrow as pa

    readers = [_blocks(path, max(BLOCK // len(files), 1 << 12)) for path in files]
    current = {number: block for number, reader in enumerate(readers) if (block := next(reader, None))}
    while current:
        until, last = min((block.times[-1], number) for number, block in current.items())
        times, segment, texts = [], [], []
        for number, block in [*current.items()]:
            count = int(np.searchsorted(block.times, until, side="right" if number <= last else "left"))
            times.append(block.times[:count])
            segment.append(np.full(count, number))
            texts.append(block.texts.slice(0, 2 * count))
            block.times, block.texts = block.times[count:], block.texts.slice(2 * count)
            if not len(block.times) and (following := next(readers[number], None)):
                current[number] = following
            elif not len(block.times):
                del current[number]
        order = np.argsort(np.concatenate(times), kind="stable")
        yield pa.array(np.concatenate(segment)[order]), pa.concat_arrays(texts).take(pa.array(2 * order))


def _blocks(path: Path, size: int) -> Iterator[_Block]:
    """The records of a segment."""
    number, previous, rest = 0, b"", b""
    with path.open("rb", buffering=0) as file:
        while read := file.read(size):
            *lines, rest = (rest + read).split(b"\n")
            if not lines:
                continue
            block, previous = _checked(lines, number, previous)
            count = len(block.times)
            number += count
            if count:
                yield block
            if count < len(lines):
                _torn(path, lines[count])
                return
    if rest:
        _torn(path, rest)


def _checked(lines: Sequence[bytes], number: int, previous: bytes) -> tuple[_Block, bytes]:
    """(the lines up to the first that is not sound, hash of the last line). ``number``: of the first line in its
    segment; ``previous``: the hash before it."""
    import numpy as np
    import pyarrow as pa
    from numpy.lib.stride_tricks import sliding_window_view

    hashes = "".join([hashlib.sha256(line[:-TAIL]).hexdigest() for line in lines]).encode()
    ends = np.cumsum([len(line) + 1 for line in lines]) - 1
    starts = np.append(0, ends[:-1] + 1)
    data = b"\n".join([*lines, bytes(len(_HEAD))])  # the last line, too, is followed by something to look at
    values = np.frombuffer(data, np.uint8)
    digits = np.searchsorted(10 ** np.arange(1, 18), np.arange(number, number + len(lines)), side="right") + 1
    head = sliding_window_view(values, len(_HEAD))[starts + len(_SEQ) + digits]
    tail = sliding_window_view(values, TAIL)[np.maximum(ends - TAIL, 0)]
    known = np.frombuffer((previous or bytes(64)) + hashes, np.uint8).reshape(-1, 64)
    wanted = np.tile(np.frombuffer(_HEAD, np.uint8), (len(lines), 1))
    wanted[:, _TIME], wanted[:, _LAST] = head[:, _TIME], known[:-1]
    sound = (head == wanted).all(axis=1)
    if not number:  # there is no hash before it
        sound[0] = head[0, : _LAST.start + 1].tobytes() == wanted[0, : _LAST.start].tobytes() + b'"'
    wanted = np.tile(np.frombuffer(MARK + bytes(64) + b'"}', np.uint8), (len(lines), 1))
    wanted[:, len(MARK) : -2] = known[1:]
    sound &= (tail == wanted).all(axis=1)
    count = len(lines) if sound.all() else int(np.argmin(sound))
    offsets = np.append(np.stack((starts, ends), axis=1).ravel(), ends[-1] + 1)[: 2 * count + 1]
    texts = pa.StringArray.from_buffers(2 * count, pa.py_buffer(offsets.astype(np.int32)), pa.py_buffer(data))
    try:
        texts.validate(full=True)
        times = head[:count, _TIME].copy().view("S26").ravel().astype("M8[us]").astype(np.int64)
    except (pa.ArrowInvalid, ValueError) as error:
        raise Disordered(str(error)) from error
    if (np.diff(times) < 0).any():
        raise Disordered("the clock of a writer went back")
    return _Block(times, texts), hashes[-64:]


def _torn(path: Path, line: bytes) -> None:
    """Returns where a line that is not sound is the torn tail of a writer that was killed."""
    refuse(path)
    try:
        json.loads(line)
    except ValueError:
        return
    raise Disordered(f"{path}: an unusual last line")
