"""Converts an experiment's numbers without NumPy: nested lists of Python on one side, raw float32 on the other."""

from __future__ import annotations

import ast
from array import array
from collections.abc import Sequence
from itertools import chain
from typing import Any

_CODES = {"<i8": "q", "<i4": "i", "<f8": "d", "<f4": "f", "|u1": "B"}
_MAGIC = b"\x93NUMPY\x01\x00"  # numpy.save uses this version unless the header is very large


def read(data: bytes) -> list[Any]:
    """The array of an .npy file as nested lists. ValueError for a format that the referee does not send."""
    if not data.startswith(_MAGIC):
        raise ValueError("not an .npy file of version 1")
    start = 10 + int.from_bytes(data[8:10], "little")
    header = ast.literal_eval(data[10:start].decode("latin-1"))
    if header["fortran_order"] or header["descr"] not in _CODES:
        raise ValueError(f"cannot read an array of {header['descr']} or in this order without NumPy")
    return _nest(array(_CODES[header["descr"]], data[start:]).tolist(), header["shape"])


def _nest(flat: list[Any], shape: Sequence[int]) -> list[Any]:
    """A flat list of numbers as nested lists of ``shape``, the last axis innermost."""
    for size in reversed(shape[1:]):
        flat = [flat[at : at + size] for at in range(0, len(flat), size)] if size else [[] for _ in range(shape[0])]
    return flat


def numbers(answer: Any, shape: Sequence[int], what: str) -> array[float]:
    """Nested lists of ``shape`` as a flat float32 array. ValueError, naming ``what``, for another shape."""
    level = [answer]
    for depth, size in enumerate(shape):
        for one in level:
            if len(one) != size:
                raise ValueError(f"{what} have shape {[*shape[:depth], len(one)]}, expected {list(shape)}")
        level = list(chain.from_iterable(level))
    return array("f", level)
