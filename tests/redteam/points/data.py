"""Three clouds of points in the plane that overlap. The first hidden row is one that can be recognised."""

from pathlib import Path

import numpy as np

CANARY = (0.718281, 1.414213)  # a hidden row; the training split has none that is like it


def make(split: str, seed: int, out: Path) -> None:
    rng = np.random.default_rng(seed)
    targets = rng.integers(0, 3, 300)
    centres = np.array([[2.0, 0.0], [0.0, 2.0], [2.0, 2.0]])
    inputs = (centres[targets] + rng.normal(0, 0.9, (300, 2))).astype(np.float32)
    if split != "train":
        inputs[0], targets[0] = CANARY, 2
    np.save(out / "inputs.npy", inputs)
    np.save(out / "targets.npy", targets.astype(np.int64))
