"""An exact test that two samples are exchangeable, such as two arms of one program."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from itertools import combinations
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, np.dtype[Any]]

MOST = 50_000  # splits to enumerate; if there are more, a random sample of that size


def permutation_test(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Two-sided p of the difference of means over all splits of the values into samples of these sizes (Fisher 1935).

    Exact for any distribution, and conditional on all values: it is independent of their common mean.
    None if a sample has fewer than two values. With more than MOST splits it uses a fixed random sample of them.
    """
    import numpy as np

    if min(len(first), len(second)) < 2:
        return None
    values = np.array([*first, *second], dtype=float)
    values -= values.mean()
    few = second if len(second) <= len(first) else first
    seen = abs(math.fsum(values[len(first) :]))  # the two sums are opposite
    sums = np.abs(values[_splits(len(values), len(few))].sum(axis=1))
    more = int((sums >= seen - 1e-12 * max(1.0, float(np.abs(values).max()))).sum())
    exact = math.comb(len(values), len(few)) <= MOST
    return more / len(sums) if exact else (more + 1) / (len(sums) + 1)


@lru_cache(maxsize=8)
def _splits(total: int, size: int) -> Array:
    """Indices of the smaller sample, a row per split."""
    import numpy as np

    if math.comb(total, size) <= MOST:
        return np.array(list(combinations(range(total), size)))
    rng = np.random.Generator(np.random.PCG64(1935))
    return np.argsort(rng.random((MOST, total)), axis=1)[:, :size]
