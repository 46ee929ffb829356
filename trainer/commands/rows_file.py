"""Reads the file in which a command leaves a value for each validation row: numbers alone, of at most MOST_MB."""

from __future__ import annotations

import io
import tokenize
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from programs.common.bounded import json_value
from trainer.scoring import InvalidPredictions
from trainer.values.constants import is_number

if TYPE_CHECKING:
    import numpy as np

    from trainer.rows import Rows

MOST_MB = 64
MOST_LINES = 1_000_000  # of a file of which nothing else is known; some three seconds
_LINE = 400  # bytes of a line with a number
_OBJECT = 1 << 16  # bytes of a line of JSON
_SHOWN = 40  # characters of a line that is no number


def read_rows(name: str, data: bytes, expected: int) -> Rows:
    """The values, float64 [rows], in the order of the file; the end of ``name`` says its form.

    .csv and .txt have one value a line and perhaps a header, .jsonl a number or an object with one number a line, .npy
    one array. Raises InvalidPredictions, with one line, for anything else, for values that are not finite, and for more
    lines than MOST_LINES and ten times ``expected``: reading them would cost more than the experiment is charged.
    """
    import numpy as np

    if name.endswith(".npy"):
        values = _array(name, data)
    else:
        parse = _json_values if name.endswith(".jsonl") else _values
        values = np.fromiter(parse(name, _lines(name, data, max(MOST_LINES, 10 * expected))), dtype=np.float64)
    if not len(values):
        raise InvalidPredictions(f"{name} has no rows")
    if not np.isfinite(values).all():
        at = int(np.flatnonzero(~np.isfinite(values))[0])
        raise InvalidPredictions(f"{name}: row {at + 1} is {values[at]}, not a finite number")
    return values


def _lines(name: str, data: bytes, most: int) -> Iterator[tuple[int, bytes]]:
    """The number and text of each line that is not empty."""
    for number, line in enumerate(io.BytesIO(data.removeprefix(b"\xef\xbb\xbf")), 1):
        if number > most:
            raise InvalidPredictions(f"{name} has more than {most:,} lines")
        if text := line.strip():
            yield number, text


def _values(name: str, lines: Iterable[tuple[int, bytes]]) -> Iterator[float]:
    for number, text in lines:
        try:
            yield float(text if len(text) <= _LINE else b"too long")
        except ValueError:
            if number > 1 or not text.strip(b"\"'# ")[:1].isalpha():  # else it is a header
                raise _no_number(name, number, text, "one number, and no other column") from None


def _json_values(name: str, lines: Iterable[tuple[int, bytes]]) -> Iterator[float]:
    for number, text in lines:
        try:
            value = json_value(text if len(text) <= _OBJECT else b"too long", finite=False)
        except ValueError:
            raise _no_number(name, number, text, "a line of JSON") from None
        numbers = [part for part in (value.values() if isinstance(value, dict) else [value]) if is_number(part)]
        if len(numbers) != 1:
            raise _no_number(name, number, text, "one number or an object with one")
        yield float(numbers[0])


def _no_number(name: str, line: int, text: bytes, wanted: str) -> InvalidPredictions:
    shown = text[:_SHOWN].decode("utf-8", "replace")
    return InvalidPredictions(f"{name}:{line}: {shown!r} is not {wanted}")


def _array(name: str, data: bytes) -> Rows:
    """Of the header nothing is trusted: its shape has to be that of the bytes that follow it."""
    import numpy as np
    from numpy.lib import format as npy

    file = io.BytesIO(data)
    try:
        version = npy.read_magic(file)
        read_header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, _, dtype = read_header(file)
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError, tokenize.TokenError):
        raise InvalidPredictions(f"{name} is not an array that numpy.save wrote") from None
    content = memoryview(data)[file.tell() :]
    if dtype.kind not in "biuf" or [size for size in shape[1:] if size != 1] or not shape:
        raise InvalidPredictions(f"{name} has the shape {list(shape)} and the type {dtype}, not one number a row")
    if shape[0] * dtype.itemsize != len(content):
        raise InvalidPredictions(f"{name} ends before its {shape[0]} rows do, or after them")
    values: np.ndarray[tuple[int], np.dtype[np.float64]] = np.frombuffer(content, dtype).astype(np.float64)
    return values
