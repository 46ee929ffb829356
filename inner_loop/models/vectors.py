"""Vectors of texts as an embedding model returned them, and the text by which a call's event and a recording keep them.

A component has 8 bits, which changes a cosine by about 0.0001 and makes the text an eighth as long. Decisions are made
from the kept text alone, so that a study that is resumed or replayed makes the same ones.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

LEVELS = 127  # of a component, on either side of 0
MOST_DIMENSIONS = 1 << 15  # the largest models have 8,192 or fewer


def packed(rows: Sequence[Sequence[float]], count: int) -> str:
    """``count`` vectors as text. Raises ValueError for another number of them, and for vectors without a direction."""
    table = np.asarray(rows, dtype=np.float64)
    if table.ndim != 2 or len(table) != count or not 0 < table.shape[1] <= MOST_DIMENSIONS:
        raise ValueError(f"vectors of the shape {table.shape} for {count} texts")
    largest = np.abs(table).max(axis=1, keepdims=True)
    if not np.all(np.isfinite(largest)) or not np.all(largest > 0):
        raise ValueError("a vector that has no direction")
    levels = np.rint(table / largest * LEVELS).astype(np.int8)
    return json.dumps({"dimensions": table.shape[1], "vectors": base64.b64encode(levels.tobytes()).decode()})


def unpacked(text: str) -> NDArray[np.float64]:
    """The vectors as rows of length 1."""
    kept = json.loads(text)
    levels = np.frombuffer(base64.b64decode(kept["vectors"]), dtype=np.int8)
    table = levels.reshape(-1, kept["dimensions"]).astype(np.float64)
    rows: NDArray[np.float64] = table / np.linalg.norm(table, axis=1, keepdims=True)
    return rows
