"""Generator of the task's images: 16x16 drawings of ten glyphs, the same bytes on every machine.

Only raw PCG64 words, integer tables and the exactly rounded operations + - * / sqrt are used (no
sin, exp, matrix product or library distribution), so that a seed means the same file everywhere.
Trusted side only: a candidate sees the training split and never this module's hidden seeds.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

SIDE = 16
CLASSES = 10
ROWS = {"train": 8000, "hidden": 2000}

# Six points per glyph on a grid of 0..8 (x to the right, y down), and four strokes between them.
POINTS = (
    ((1, 1), (7, 1), (7, 7), (1, 7), (4, 4), (1, 4)),
    ((1, 1), (7, 1), (4, 4), (7, 7), (1, 7), (1, 4)),
    ((1, 1), (7, 1), (7, 4), (1, 7), (7, 7), (1, 4)),
    ((1, 7), (4, 1), (7, 7), (2, 5), (6, 5), (4, 4)),
    ((1, 1), (1, 7), (7, 7), (7, 1), (4, 4), (1, 4)),
    ((1, 1), (7, 7), (7, 1), (1, 7), (4, 1), (4, 7)),
    ((4, 1), (4, 7), (1, 4), (7, 4), (1, 7), (7, 7)),
    ((7, 1), (1, 1), (1, 4), (7, 4), (7, 7), (1, 7)),
    ((1, 1), (1, 7), (7, 4), (7, 7), (1, 4), (7, 1)),
    ((1, 7), (1, 1), (4, 5), (7, 1), (7, 7), (4, 4)),
)
STROKES = (
    ((0, 1), (1, 2), (2, 3), (3, 0)),
    ((0, 1), (1, 2), (2, 3), (3, 4)),
    ((0, 1), (1, 2), (2, 3), (3, 4)),
    ((0, 1), (1, 2), (3, 4), (3, 4)),
    ((0, 1), (1, 2), (2, 3), (2, 3)),
    ((0, 1), (2, 3), (0, 1), (2, 3)),
    ((0, 1), (2, 3), (4, 5), (4, 5)),
    ((0, 1), (1, 2), (3, 4), (4, 5)),
    ((0, 1), (4, 2), (2, 3), (0, 1)),
    ((0, 1), (1, 2), (2, 3), (3, 4)),
)
JITTER = 0.35  # grid units of a point's own displacement at one sd
TURN = 0.10  # largest tangent of half the angle of rotation, shear likewise
SHIFT = 3.0  # largest displacement of the glyph, pixels
NOISE = 40  # largest grey value of the noise, of 255

Array = NDArray[np.float64]


class Source:
    """Random numbers cut out of raw PCG64 words; the words of a seed never change between NumPy versions."""

    def __init__(self, seed: int) -> None:
        self._bits = np.random.PCG64(seed)

    def uniform(self, *shape: int) -> Array:
        """Multiples of 2**-32 in [0, 1), of the given shape."""
        words = np.asarray(self._bits.random_raw(int(np.prod(shape))), dtype=np.uint64)
        return ((words >> np.uint64(32)).astype(np.float64) / 4294967296.0).reshape(shape)

    def bell(self, *shape: int) -> Array:
        """Sum of four uniform draws, centred, of sd one: close to a normal draw, without a logarithm."""
        total = self.uniform(*shape) + self.uniform(*shape) + self.uniform(*shape) + self.uniform(*shape)
        return (total - 2.0) * 1.7320508

    def bytes(self, rows: int, columns: int) -> NDArray[np.uint8]:
        """Uniform bytes [rows, columns]; columns is a multiple of 8."""
        words = np.asarray(self._bits.random_raw(rows * columns // 8), dtype="<u8")
        return words.view(np.uint8).reshape(rows, columns)


def _placed(source: Source, labels: NDArray[np.int64]) -> Array:
    """Points of every glyph, jittered, turned, sheared, scaled and moved: [rows, 6, 2] in pixels."""
    rows = len(labels)
    points = np.array(POINTS, dtype=np.float64)[labels] - 4.0 + JITTER * source.bell(rows, 6, 2)
    tangent = TURN * (2.0 * source.uniform(rows, 1) - 1.0)
    cosine = (1.0 - tangent * tangent) / (1.0 + tangent * tangent)
    sine = 2.0 * tangent / (1.0 + tangent * tangent)
    shear = TURN * (2.0 * source.uniform(rows, 1) - 1.0)
    scale = 1.2 + 0.6 * source.uniform(rows, 2)
    move = SHIFT * (2.0 * source.uniform(rows, 2) - 1.0) + (SIDE - 1) / 2.0
    x = points[:, :, 0] * scale[:, :1] + shear * points[:, :, 1]
    y = points[:, :, 1] * scale[:, 1:]
    return np.stack((cosine * x - sine * y + move[:, :1], sine * x + cosine * y + move[:, 1:]), axis=2)


def _ink(start: Array, end: Array, half_width: Array) -> NDArray[np.float32]:
    """Grey value 0..1 that one straight stroke per row leaves on each pixel: [rows, SIDE * SIDE]."""
    grid = np.arange(SIDE, dtype=np.float32)
    px, py = np.tile(grid, SIDE)[None, :], np.repeat(grid, SIDE)[None, :]
    ax, ay = start[:, :1].astype(np.float32), start[:, 1:].astype(np.float32)
    dx, dy = end[:, :1].astype(np.float32) - ax, end[:, 1:].astype(np.float32) - ay
    length = dx * dx + dy * dy + np.float32(1e-6)
    along = np.clip(((px - ax) * (dx / length) + (py - ay) * (dy / length)), 0.0, 1.0)
    gap_x, gap_y = px - ax - along * dx, py - ay - along * dy
    distance = np.sqrt(gap_x * gap_x + gap_y * gap_y)
    return np.clip(half_width.astype(np.float32) + np.float32(0.5) - distance, 0.0, 1.0)


def draw(rows: int, seed: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Images [rows, 256] of uint8 and their classes [rows] of int64."""
    source = Source(seed)
    labels = (source.uniform(rows) * CLASSES).astype(np.int64)
    points = _placed(source, labels)
    half_width = 0.3 + 0.6 * source.uniform(rows, 1)
    strokes = np.array(STROKES, dtype=np.int64)[labels]
    row = np.arange(rows)
    image = np.zeros((rows, SIDE * SIDE), dtype=np.float32)
    for k in range(strokes.shape[1]):
        ends = points[row, strokes[:, k, 0]], points[row, strokes[:, k, 1]]
        np.maximum(image, _ink(*ends, half_width), out=image)
    stray = SIDE * source.uniform(rows, 2, 2)  # one stroke that belongs to no glyph
    np.maximum(image, _ink(stray[:, 0], stray[:, 1], half_width), out=image)
    strength = 90.0 + 165.0 * source.uniform(rows, 1)
    noise = source.bytes(rows, SIDE * SIDE).astype(np.float32) * np.float32(NOISE / 255.0)
    grey = np.clip(image * strength.astype(np.float32) + noise, 0.0, 255.0)
    return np.floor(grey).astype(np.uint8), labels


def make(split: str, seed: int, out: Path) -> None:
    """Write `inputs.npy` (uint8 [rows, 256]) and `targets.npy` (int64 [rows]) of one split into folder `out`."""
    inputs, targets = draw(ROWS["train" if split == "train" else "hidden"], seed)
    out.mkdir(parents=True, exist_ok=True)
    np.save(out / "inputs.npy", inputs)
    np.save(out / "targets.npy", targets)
