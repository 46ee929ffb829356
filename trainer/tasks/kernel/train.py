"""Estimate fields from scattered readings, fast: `solve` is timed. By hand: `python train.py`."""

import numpy as np

import prepare
from prepare import NEIGHBOURS

CHUNK = 40  # queries that are worked on at a time
DTYPE = "float64"  # of all arithmetic: float64, float32 or float16
SORT = "quicksort"  # quicksort, stable or heapsort
ORDER = "C"  # stations in memory: C, one after the other, or F, coordinate after coordinate


def standardised(points, stations):
    """Coordinates less the stations' mean, over their standard deviation."""
    mean = stations.mean(axis=0)
    sd = np.sqrt(((stations - mean) ** 2).mean(axis=0))
    return (points - mean) / sd


def distances(queries, stations):
    """Squared distances [queries, stations]."""
    difference = queries[:, None, :] - stations[None, :, :]
    return (difference**2).sum(axis=2)


def nearest(distance):
    """Squared distances of the 25 nearest stations [rows, 25], and which the first 24 are [rows, 24]."""
    order = np.argsort(distance, axis=1, kind=SORT)[:, : NEIGHBOURS + 1]
    return np.take_along_axis(distance, order, axis=1), order[:, :-1]


def weights(near):
    """From 1 at the query to 0 at the 25th nearest, divided by their sum: [rows, 24]."""
    weight = 1 - near[:, :-1] / near[:, -1:]
    return weight / weight.sum(axis=1, keepdims=True)


def weighted(weight, values):
    """Sum over the stations: weights [..., n], values [..., n, fields] -> [..., 1, fields]."""
    return (weight[..., None] * values).sum(axis=-2, keepdims=True)


def local(weight, known):
    """Weighted mean and standard deviation of each field: [..., 2 * fields]."""
    mean = weighted(weight, known)
    variance = weighted(weight, (known - mean) ** 2)
    return np.concatenate((mean, np.sqrt(variance)), axis=-1)[..., 0, :]


def estimates(distance, readings):
    """Means and standard deviations [rows, 2 * fields]."""
    near, which = nearest(distance)
    weight = weights(near)
    found = np.empty((len(weight), 2 * readings.shape[1]), DTYPE)
    for row in range(len(weight)):
        found[row] = local(weight[row], readings[which[row]])
    return found


def solve(inputs):
    """Of queries [160, 8], stations [800, 8] and readings [800, 6]: means less the overall ones, and sds [160, 12]."""
    queries, stations, readings = inputs
    level = readings.mean(axis=0)
    found = np.empty((len(queries), 2 * readings.shape[1]))
    for start in range(0, len(queries), CHUNK):
        points = standardised(queries[start : start + CHUNK], stations).astype(DTYPE)
        places = standardised(stations, stations).astype(DTYPE, order=ORDER)
        found[start : start + CHUNK] = estimates(distances(points, places), readings.astype(DTYPE))
    found[:, : len(level)] -= level
    return found


if __name__ == "__main__":
    prepare.report(solve)
