"""Inputs of the kernel, drawn from a seed, and the reference that a candidate is checked against and timed against.

The kernel estimates fields at queries from readings at scattered stations. Each query looks at its 24 nearest stations,
by distance in standardised coordinates; weights fall from 1 at the query to 0 at the 25th nearest, so that the result
is continuous: where two stations are equally far, it does not matter which is taken. The result is, for each field, the
weighted mean (less the mean of all stations) and the weighted standard deviation.
Trusted side only: inputs come from seeds that a candidate never sees.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

QUERIES, STATIONS, COORDINATES, FIELDS = 160, 800, 8, 6
NEIGHBOURS = 24
CHUNK = 40
LEVEL = 1000.0  # of all readings, against which their variation is small

Array = NDArray[np.float64]


def kernel_inputs(seed: int) -> list[Array]:
    """Queries [160, 8], stations [800, 8], readings [800, 6], float64."""
    rng = np.random.default_rng(seed)
    scale = np.exp(rng.standard_normal(COORDINATES))  # coordinates have units of their own
    stations = rng.standard_normal((STATIONS, COORDINATES))
    queries = rng.standard_normal((QUERIES, COORDINATES))
    slope = rng.standard_normal((COORDINATES, FIELDS)) / COORDINATES**0.5
    readings = LEVEL + np.tanh(stations @ slope) + 0.1 * rng.standard_normal((STATIONS, FIELDS))
    return [(queries + 5.0) * scale, (stations + 5.0) * scale, readings]


def reference(inputs: list[Array]) -> Array:
    """Means and standard deviations [160, 12]."""
    queries, stations, readings = inputs
    found = np.empty((len(queries), 2 * readings.shape[1]))
    for start in range(0, len(queries), CHUNK):
        rows = slice(start, start + CHUNK)
        found[rows] = _estimates(_distances(queries[rows], stations), readings)
    found[:, : readings.shape[1]] -= readings.mean(axis=0)
    return found


def _distances(queries: Array, stations: Array) -> Array:
    mean = stations.mean(axis=0)
    sd = np.sqrt(((stations - mean) ** 2).mean(axis=0))
    queries, stations = (queries - mean) / sd, (stations - mean) / sd
    difference = queries[:, None, :] - stations[None, :, :]
    return np.asarray((difference**2).sum(axis=2))


def _estimates(distance: Array, readings: Array) -> Array:
    order = np.argsort(distance, axis=1)[:, : NEIGHBOURS + 1]
    near = np.take_along_axis(distance, order, axis=1)
    weight = 1.0 - near[:, :-1] / near[:, -1:]
    weight /= weight.sum(axis=1, keepdims=True)
    found = np.empty((len(distance), 2 * readings.shape[1]))
    for row in range(len(distance)):
        known, share = readings[order[row, :-1]], weight[row][:, None]
        mean = (share * known).sum(axis=0)
        variance = (share * (known - mean) ** 2).sum(axis=0)
        found[row] = np.concatenate((mean, np.sqrt(variance)))
    return found


def make(split: str, seed: int, out: Path) -> None:
    """Nothing: there is nothing to train on, and hidden inputs are drawn call by call."""
    out.mkdir(parents=True, exist_ok=True)
