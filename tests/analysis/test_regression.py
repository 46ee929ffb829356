"""Robust least squares: the textbook's tests where they are special cases, and level in small samples."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.effects.designs import least_squares
from analysis.statistics import welch_difference


def test_one_child_beside_its_parent_is_a_paired_t_test() -> None:
    rng = np.random.default_rng(1)
    y, block = rng.standard_normal(16), np.repeat(np.arange(8), 2)
    x = np.tile([0.0, 1.0], 8)[:, None]
    differences = y[1::2] - y[::2]
    found = least_squares(x, y, block)[0]
    assert found is not None and found.estimate == pytest.approx(differences.mean())
    assert found.se == pytest.approx(differences.std(ddof=1) / np.sqrt(8))


def test_two_groups_have_the_error_of_welch() -> None:
    rng = np.random.default_rng(2)
    a, b = rng.normal(1, 2, 7), rng.normal(0, 1, 5)
    found = least_squares(np.r_[np.ones(7), np.zeros(5)][:, None], np.r_[a, b], np.zeros(12, dtype=int))[0]
    difference, se, _ = welch_difference(a.tolist(), b.tolist())
    assert found is not None and (found.estimate, found.se) == pytest.approx((difference, se))
