"""What N stock runs would have reached: unbiased, with an interval, and unknown where the runs do not support it."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from analysis.same_spend import best_of, weights_of


def test_it_is_the_mean_over_all_samples() -> None:
    claims, gains = [0.3, 0.9, 0.1, 0.5, 0.7], [0.2, 0.6, 0.3, 0.1, 0.8]
    for m in range(1, 6):
        picked = [gains[max(some, key=lambda i: claims[i])] for some in combinations(range(5), m)]
        assert best_of(claims, gains, m)[0] == pytest.approx(np.mean(picked))
    assert sum(weights_of(30, 7)) == pytest.approx(1.0)


def test_its_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    """Claims are gains and luck; the truth of the best of 8 from 100,000 draws. Bootstrap intervals cover less."""
    rng = np.random.default_rng(6)

    def draw(shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
        gains = -rng.standard_exponential(shape)  # skewed to the left, as real runs are
        return gains + 0.3 * rng.standard_normal(shape), gains

    claims, gains = draw((100_000, 8))
    truth = float(np.mean(gains[np.arange(100_000), claims.argmax(axis=1)]))
    seen = [best_of(*(part.tolist() for part in draw((22,))), 8) for _ in range(200)]
    assert np.mean([middle for middle, _, _ in seen]) == pytest.approx(truth, abs=0.05)
    assert np.mean([low <= truth <= high for _, low, high in seen]) > 0.8
