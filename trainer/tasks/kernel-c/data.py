"""Images of the kernel, drawn from a seed, and what is right for them.

The kernel tells the local contrast of each pixel of a picture: it is smoothed by a Gaussian of 7x7, compared with mean
and standard deviation of the 9x9 pixels around it, and what comes out goes through a logistic curve. Beyond the border
the nearest pixel counts. Here in NumPy, to check results; reference.c is what is timed against.
Trusted side only: images come from seeds that a candidate never sees.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

ROWS, COLUMNS = 160, 128
RADIUS, AROUND = 3, 4
SIGMA = 1.5
PEDESTAL = 40_000  # what the sensor tells of black
NOISE = 60.0
SPREAD = 20.0  # added to the standard deviation: flat places have little contrast
WAVES = 12

Array = NDArray[np.float64]


def kernel_inputs(seed: int) -> list[NDArray[np.uint16]]:
    """One picture, uint16 [160, 128]: waves in all directions, noise, and a pedestal."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:ROWS, :COLUMNS]
    picture = NOISE * rng.standard_normal((ROWS, COLUMNS))
    for _ in range(WAVES):
        along, across, phase = rng.uniform(-0.4, 0.4), rng.uniform(-0.4, 0.4), rng.uniform(0, 2 * np.pi)
        picture += rng.uniform(0, 250) * np.sin(along * x + across * y + phase)
    return [np.rint(PEDESTAL + picture).astype(np.uint16)]


def reference(inputs: list[Any]) -> NDArray[np.float32]:
    """Contrast in 0..1, float32 [160, 128]."""
    steps = np.arange(-RADIUS, RADIUS + 1)
    weight = np.exp(-(steps**2) / (2 * SIGMA**2))
    weight /= weight.sum()
    smooth = _windows(inputs[0].astype(np.float64), RADIUS)
    smooth = np.einsum("rcij,i,j->rc", smooth, weight, weight)
    around = _windows(smooth, AROUND)
    mean, sd = around.mean(axis=(2, 3)), around.std(axis=(2, 3))
    found: NDArray[np.float32] = (1 / (1 + np.exp(-2 * (smooth - mean) / (sd + SPREAD)))).astype(np.float32)
    return found


def _windows(picture: Array, radius: int) -> Array:
    """What lies around each pixel: [rows, columns, 2 * radius + 1, 2 * radius + 1]."""
    width = 2 * radius + 1
    padded = np.pad(picture, radius, mode="edge")
    return np.lib.stride_tricks.sliding_window_view(padded, (width, width))


def make(split: str, seed: int, out: Path) -> None:
    """Nothing: there is nothing to train on, and hidden inputs are drawn call by call."""
    out.mkdir(parents=True, exist_ok=True)
