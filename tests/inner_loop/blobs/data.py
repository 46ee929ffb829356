"""Three blobs in the plane, two coordinates each."""

from pathlib import Path

import numpy as np


def make(split: str, seed: int, out: Path) -> None:
    rng = np.random.default_rng(seed)
    targets = rng.integers(0, 3, 300)
    centres = np.array([[2.0, 0.0], [0.0, 2.0], [2.0, 2.0]])
    inputs = centres[targets] + rng.normal(0, 0.7, (300, 2))
    np.save(out / "inputs.npy", inputs.astype(np.float32))
    np.save(out / "targets.npy", targets.astype(np.int64))
