"""Rows of sixteen letters: after each one its two favourites come more often. One hidden row can be recognised."""

from pathlib import Path

import numpy as np

LETTERS, ROWS, LENGTH = 16, 48, 48
CANARY = (9, 4, 14, 1, 6, 11, 3, 8, 0, 13, 2, 7)  # begins a hidden row; the training split does not hold it


def text(rng: np.random.Generator, rows: int) -> np.ndarray:
    """Letters [rows, LENGTH + 1]; half of the time one of two that favour the one before, else any."""
    found = rng.integers(LETTERS, size=(rows, LENGTH + 1))
    for place in range(LENGTH):
        favourite = (found[:, place] * 5 + rng.choice([1, 8], size=rows)) % LETTERS
        found[:, place + 1] = np.where(rng.random(rows) < 0.6, favourite, found[:, place + 1])
    return found


def make(split: str, seed: int, out: Path) -> None:
    rng = np.random.default_rng(seed)
    rows = text(rng, 4 * ROWS if split == "train" else ROWS)
    if split == "train":
        np.save(out / "train.npy", rows)
        return
    rows[ROWS // 2, 1 : 1 + len(CANARY)] = CANARY
    inputs, targets = rows[:, :-1].copy(), rows[:, 1:].copy()
    targets[-1, LENGTH // 2 :] = -1  # the last row is half empty
    for name, array in (("inputs", inputs), ("targets", targets), ("bytes", (targets >= 0).sum(1))):
        np.save(out / f"{name}.npy", array.astype(np.int64))
