"""The problems of the task: rows of a classification whose inputs are badly scaled, and the network that learns them.

Each seed is a problem of its own: another mixing of the inputs, another teacher, other frequent classes. What an
optimizer remembers of one is worth nothing on the next. Only raw PCG64 words, integers and sums of integers below 2**53
in float64 are used (exact in any order), so that a seed means the same bytes everywhere.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from model import Network, whole
from numpy.typing import NDArray

FEATURES, CLASSES = 48, 32
HIDDEN = 64  # units of the teacher
TRAIN, TEST = 32768, 4096  # rows
NOISE = 16384  # of the teacher's scores, which have a standard deviation of some 25,000
RARER = 16000  # how much the score of the n-th class is lower for each 1/n: frequencies fall as in a text

Array = NDArray[np.float64]


def bell(bits: np.random.PCG64, *shape: int, reach: int) -> Array:
    """Integers around 0, each the sum of four uniform draws: sd .577 of ``reach``, never beyond twice of it."""
    return whole(bits, 4, *shape, top=reach).sum(axis=0) - 2.0 * (reach - 1)


def draw(seed: int, rows: int = TRAIN + TEST) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Inputs float32 [rows, FEATURES] and classes int64 [rows] of the problem ``seed``."""
    bits = np.random.PCG64(seed)
    mixing, first = bell(bits, FEATURES, FEATURES, reach=8), bell(bits, FEATURES, HIDDEN, reach=8)
    second, order = bell(bits, HIDDEN, CLASSES, reach=8), np.argsort(bits.random_raw(CLASSES), kind="stable")
    latent = bell(bits, rows, FEATURES, reach=64)
    scales = 64 // np.arange(1, FEATURES + 1)  # from 64 to 1: directions that matter alike, and are seen more or less
    inputs = (latent * scales) @ mixing / 16384.0
    rarity = RARER * np.cumsum(1000 // np.arange(1, CLASSES + 1)) // 1000
    scores = (np.maximum(latent @ first, 0.0) - 471.0) @ second - rarity[order]
    scores += bell(bits, rows, CLASSES, reach=NOISE)
    return inputs.astype(np.float32), scores.argmax(axis=1)


def make(split: str, seed: int, out: Path) -> None:
    """Write a hidden problem, its rows to learn from included, to ``out``; no candidate gets any: `train` is empty."""
    if split == "train":
        return
    inputs, targets = draw(seed)
    np.save(out / "inputs.npy", inputs)
    np.save(out / "targets.npy", targets)


def problem(split: Path, seed: int) -> Network:
    """The network before its first step; ``seed`` is of its weights and of the order of the rows."""
    return Network(np.load(split / "inputs.npy"), np.load(split / "targets.npy"), TRAIN, CLASSES, seed)
