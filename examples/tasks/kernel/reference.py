"""What the kernel computes: inputs drawn from a seed, and a plain version, the standard of right results and of time.

Fields are estimated at queries from readings at scattered stations. The 24 nearest stations of a query count, by their
distance in standardised coordinates; weights fall from 1 at the query to 0 at the 25th nearest. The result is the
weighted mean of each field, less the mean of all stations, and its weighted standard deviation.
"""

import numpy as np

QUERIES, STATIONS, COORDINATES, FIELDS = 160, 800, 8, 6
NEIGHBOURS = 24
LEVEL = 1000.0  # of all readings; their variation is small against it


def inputs(seed):
    """Queries [160, 8], stations [800, 8], readings [800, 6], float64."""
    rng = np.random.default_rng(seed)
    scale = np.exp(rng.standard_normal(COORDINATES))  # coordinates have units of their own
    stations = rng.standard_normal((STATIONS, COORDINATES))
    queries = rng.standard_normal((QUERIES, COORDINATES))
    slope = rng.standard_normal((COORDINATES, FIELDS)) / COORDINATES**0.5
    readings = LEVEL + np.tanh(stations @ slope) + 0.1 * rng.standard_normal((STATIONS, FIELDS))
    return [(queries + 5.0) * scale, (stations + 5.0) * scale, readings]


def solve(inputs):
    """Means and standard deviations [160, 12]."""
    queries, stations, readings = inputs
    mean, sd = stations.mean(axis=0), stations.std(axis=0)
    stations = (stations - mean) / sd
    found = np.empty((len(queries), 2 * readings.shape[1]))
    for row, query in enumerate((queries - mean) / sd):
        distance = ((stations - query) ** 2).sum(axis=1)
        near = np.argsort(distance)[: NEIGHBOURS + 1]
        weight = 1.0 - distance[near[:-1]] / distance[near[-1]]
        share = (weight / weight.sum())[:, None]
        known = readings[near[:-1]]
        average = (share * known).sum(axis=0)
        spread = np.sqrt((share * (known - average) ** 2).sum(axis=0))
        found[row] = np.concatenate((average - readings.mean(axis=0), spread))
    return found
