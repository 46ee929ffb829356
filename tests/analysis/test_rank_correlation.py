"""The rank correlation between two tasks: what it says of truths that are known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr

from analysis.rank_correlation import MeasuredGain, correlation, rank_correlations, reliability


def pairs(a: list[float], b: list[float], se: float) -> list[tuple[MeasuredGain, MeasuredGain]]:
    sides = [[MeasuredGain(mean, se, str(i)) for i, mean in enumerate(side)] for side in (a, b)]
    return list(zip(*sides, strict=True))


def test_spearman_is_scipy_s_ties_included() -> None:
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(5, 9)), rng.normal(size=(5, 9))
    a[:, 3] = a[:, 4]
    expected = [spearmanr(x, y).statistic for x, y in zip(a, b, strict=True)]
    assert rank_correlations(a, b) == pytest.approx(expected)
    assert rank_correlations(np.ones((1, 4)), a[:1, :4]) == pytest.approx([0.0])


def test_without_noise_the_order_is_the_order() -> None:
    told = correlation("a", "b", pairs([1, 2, 3, 4, 5], [2, 4, 6, 8, 11], 1e-6))
    assert (told.estimate, told.low, told.high) == pytest.approx((1.0, 1.0, 1.0))
    against = correlation("a", "b", pairs([1, 2, 3, 4, 5], [5, 4, 3, 2, 1], 1e-6))
    assert against.estimate == pytest.approx(-1.0) and against.reliability == pytest.approx(1.0)


def test_noise_widens_it_and_is_owned_up_to() -> None:
    clear = correlation("a", "b", pairs([1, 2, 3, 4, 5, 6], [1, 2, 3, 4, 5, 6], 0.1))
    noisy = correlation("a", "b", pairs([1, 2, 3, 4, 5, 6], [1, 2, 3, 4, 5, 6], 3.0))
    assert clear.low is not None and noisy.low is not None
    assert noisy.low < 0.0 < clear.low and noisy.observed == clear.observed == pytest.approx(1.0)
    assert (noisy.reliability or 0.0) < 0.1 < 0.9 < (clear.reliability or 0.0)


def test_few_programs_tell_nothing() -> None:
    told = correlation("a", "b", pairs([1, 2, 3], [1, 2, 3], 0.1))
    assert told.estimate is None and told.low is None and "fewer than 4" in told.why


def test_programs_that_all_behave_alike_tell_nothing() -> None:
    same = [(mine, MeasuredGain(1.0, 0.1, "stock")) for mine, _ in pairs([1, 2, 3, 4], [0, 0, 0, 0], 0.1)]
    assert "behave alike on b" in correlation("a", "b", same).why


def test_those_who_share_figures_are_tied_in_every_draw() -> None:
    shared = [MeasuredGain(1.0, 0.1, "stock")] * 3 + [MeasuredGain(2.0, 0.1, "x")]
    told = correlation("a", "b", list(zip([m for m, _ in pairs([1, 2, 3, 4], [0] * 4, 1e-6)], shared, strict=True)))
    assert told.estimate == pytest.approx(spearmanr([1, 2, 3, 4], [1, 1, 1, 2]).statistic)


def test_the_interval_holds_the_truth_and_a_seed_repeats_it() -> None:
    rng = np.random.default_rng(5)
    held = []
    for _ in range(40):
        truth = rng.normal(size=(2, 6)) * 0.5
        truth[1] = 0.8 * truth[0] + 0.6 * truth[1]
        seen = truth + rng.normal(size=(2, 6)) * 0.2
        told = correlation("a", "b", pairs(*seen.tolist(), 0.2))
        assert told == correlation("a", "b", pairs(*seen.tolist(), 0.2))
        true = spearmanr(*truth).statistic
        held.append((told.low or 0.0) - 1e-9 <= true <= (told.high or 0.0) + 1e-9)
    assert sum(held) >= 35


def test_reliability_is_what_noise_leaves() -> None:
    rng = np.random.default_rng(2)
    means = rng.normal(size=4000) + rng.normal(size=4000)
    assert reliability(means, np.ones(4000)) == pytest.approx(0.5, abs=0.05)
    assert reliability(np.ones(4), np.ones(4)) == 0.0
