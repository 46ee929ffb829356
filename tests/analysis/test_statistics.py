"""Against known truth: coverage of intervals and bounds, error rates, shrinkage, agreement with scipy."""

from __future__ import annotations

import math

import numpy as np
import pytest

from analysis.statistics import (
    bh,
    clustered_mean,
    holm,
    mean_interval,
    posterior,
    ratio,
    ratio_lower_bound,
    shared_error,
    t_test,
    welch,
    welch_difference,
)


def test_mean_interval_knows_what_it_cannot_know() -> None:
    assert mean_interval([]).mean is None
    one = mean_interval([2.0])
    assert (one.mean, one.n, one.se, one.low, one.high) == (2.0, 1, None, None, None)
    three = mean_interval([1.0, 2.0, 3.0])
    assert three.se == pytest.approx(1 / math.sqrt(3)) and three.low == pytest.approx(2 - 4.302653 / math.sqrt(3))


def test_interval_covers_95_percent() -> None:
    rng = np.random.default_rng(1)
    found = [mean_interval(list(rng.normal(3.0, 1.0, 4))) for _ in range(2000)]
    covered = np.mean([m.low is not None and m.high is not None and m.low <= 3.0 <= m.high for m in found])
    assert 0.935 <= covered <= 0.965


def test_welch_agrees_with_scipy() -> None:
    from scipy.stats import ttest_ind

    rng = np.random.default_rng(2)
    a, b = list(rng.normal(0, 1, 5)), list(rng.normal(1, 3, 9))
    assert welch(a, b) == pytest.approx(ttest_ind(a, b, equal_var=False).pvalue)
    assert welch([1.0], b) is None
    assert welch([0.0, 0.0], [0.0, 0.0]) == 1.0 and welch([0.0, 0.0], [1.0, 1.0]) == 0.0


def test_corrections_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert bh([0.01, 0.04, 0.03, None]) == pytest.approx([0.03, 0.04, 0.04, None])
    assert bh([]) == [] and holm([]) == []


def test_bh_holds_the_false_discovery_rate() -> None:
    rng = np.random.default_rng(3)
    rates = []
    for _ in range(300):
        z = rng.normal(0, 1, 40)
        z[:10] += 4.0
        qs = bh([t_test(value, 1.0, 1e6) for value in z])
        called = [i for i, q in enumerate(qs) if q is not None and q < 0.1]
        rates.append(sum(i >= 10 for i in called) / max(1, len(called)))
    assert np.mean(rates) < 0.1 and np.mean(rates) > 0.03


def test_clustered_se_sees_what_the_plain_one_misses() -> None:
    rng = np.random.default_rng(4)
    covered = []
    for _ in range(1000):
        runs = [rng.normal(0, 1) + rng.normal(0, 0.3, int(rng.integers(1, 6))) for _ in range(12)]
        mean, se = clustered_mean([float(r.sum()) for r in runs], [len(r) for r in runs])
        assert se is not None
        covered.append(abs(mean) <= 2.2 * se)
    assert 0.90 <= np.mean(covered) <= 0.97
    assert clustered_mean([3.0], [2]) == (1.5, None)


def test_posterior_shrinks_towards_the_grand_mean() -> None:
    equal = posterior([0.9, 1.0, 1.1, 1.0], [0.3, 0.3, 0.3, 0.3], [4, 4, 4, 4])
    assert [p.shrunk_mean for p in equal] == pytest.approx([0.9333, 1.0, 1.0667, 1.0], abs=1e-3)
    apart = posterior([0.0, 1.0, 2.0], [0.01, 0.01, 0.01], [4, 4, 4])
    assert [p.shrunk_mean for p in apart] == pytest.approx([0, 1, 2], abs=0.01)
    few = posterior([0.0, 1.0, 2.0], [0.3, 0.3, None], [4, 4, 1])
    assert few[2].shrunk_mean < 2.0 and few[2].se > few[0].se
    assert posterior([], [], []) == []
    [alone] = posterior([2.0], [None], [1])
    assert alone.shrunk_mean == 2.0 and math.isfinite(alone.shrunk_se)
    luck = posterior([0.0, 2.0], [None, None], [1, 1])
    assert 0.0 < luck[0].shrunk_mean < 1.0 < luck[1].shrunk_mean < 2.0


def test_posterior_beats_raw_means_and_its_se_is_honest() -> None:
    rng = np.random.default_rng(5)
    raw, shrunk, z = [], [], []
    for _ in range(400):
        truth = rng.normal(1.0, 0.2, 8)
        runs = [list(rng.normal(t, 0.35, 4)) for t in truth]
        means = [mean_interval(r) for r in runs]
        found = posterior([m.mean or 0.0 for m in means], [m.se for m in means], [4] * 8)
        raw += [(m.mean or 0.0) - t for m, t in zip(means, truth, strict=True)]
        shrunk += [p.shrunk_mean - t for p, t in zip(found, truth, strict=True)]
        z += [(p.shrunk_mean - t) / p.shrunk_se for p, t in zip(found, truth, strict=True)]
    assert np.std(shrunk) < 0.88 * np.std(raw)
    assert np.mean(np.abs(z) < 2.0) > 0.93


def test_ratio_bound_covers_one_sided() -> None:
    rng = np.random.default_rng(6)
    below = [ratio_lower_bound(list(rng.normal(1.3, 0.4, 12)), list(rng.normal(1.0, 0.33, 12))) <= 1.3
             for _ in range(2000)]  # fmt: skip
    assert 0.935 <= np.mean(below) <= 0.965


def test_ratio_bound_covers_where_the_shared_baseline_is_noisy() -> None:
    """Gains of both sides carry the error of the mean of 8 seeds; taken as known, it is covered in 82% here."""
    rng, known, counted = np.random.default_rng(7), [], []
    for _ in range(1500):
        baseline = rng.normal(0.0, 0.7, 8)
        top, bottom = (list(baseline.mean() + rng.normal(mean, 0.33, 10)) for mean in (4.0, 1.0))
        found = ratio(top, bottom, baseline=list(baseline))
        known.append(ratio_lower_bound(top, bottom) <= 4.0)
        counted.append(found.lower is None or found.lower <= 4.0)
    assert np.mean(known) < 0.86 and 0.94 <= np.mean(counted) <= 0.985


def test_ratio_at_one_counts_what_the_difference_counts() -> None:
    """The bound is 1 where the difference of the same two sides, shared error included, is just significant."""
    rng = np.random.default_rng(8)
    baseline, bottom = list(rng.normal(0.0, 0.7, 8)), list(rng.normal(2.0, 0.33, 10))
    top = [value + 0.1 for value in bottom]
    shared = shared_error(baseline, 1.0, 0.5)
    gain, se, df = welch_difference(top, bottom, shared)
    assert gain is not None and se is not None
    level = 1.0 - (t_test(gain, se, df) or 0.0) / 2
    found = ratio(top, bottom, level, baseline, (1.0, 0.5))
    assert found.lower == pytest.approx(1.0, abs=0.001)  # df are those at the ratio found
    assert ratio(top, bottom, level).lower != pytest.approx(1.0, abs=0.01)


def test_ratio_says_when_anything_is_possible() -> None:
    assert ratio([1.0, 2.0], [-1.0, 1.0]).ratio is None
    wild = ratio([1.0, 1.1], [5.0, -4.5])
    assert wild.ratio is not None and wild.lower is None
    assert ratio_lower_bound([1.0, 1.1], [5.0, -4.5]) == -math.inf
    assert ratio([1.0], [1.0, 1.0]).lower is None
    assert ratio([2.0, 2.0], [1.0, 1.0]).lower == 2.0
