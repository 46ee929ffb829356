"""Generates the splits; only trusted code runs it. Each seed gives different points of the same distribution."""

from pathlib import Path

import numpy as np

ROWS = {"train": 4000}
HIDDEN_ROWS = 2000
CLASSES = 3


def make(split: str, seed: int, out: Path) -> None:
    """Write `inputs.npy`, float32 [rows, 2], and `targets.npy`, int64 [rows], into the folder `out`.

    `split` is "train", or the name of a stream for a hidden split.
    """
    rng = np.random.Generator(np.random.PCG64(seed))
    rows = ROWS.get(split, HIDDEN_ROWS)
    targets = rng.integers(0, CLASSES, rows)
    radius = rng.uniform(0.2, 2.0, rows)
    angle = 2.5 * radius + targets * (2 * np.pi / CLASSES) + rng.normal(0, 0.2, rows)
    inputs = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    np.save(out / "inputs.npy", inputs.astype(np.float32))
    np.save(out / "targets.npy", targets.astype(np.int64))
