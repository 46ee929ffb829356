"""Against known truth: coverage of intervals and bounds, error rates, shrinkage, agreement with scipy."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import astuple

import numpy as np
import pytest

from analysis.statistics import (
    POOLED_DF,
    Estimate,
    bh,
    holm,
    mean_interval,
    mean_over_tasks,
    mean_together,
    pooled,
    posterior,
    ratio,
    skewed_difference,
    welch_difference,
)
from analysis.verdict.power import RunSample, detectable, power, runs_needed


def test_mean_interval_knows_what_it_cannot_know() -> None:
    assert mean_interval([]) == Estimate() and Estimate().interval() == (None, None) and Estimate().p() is None
    alone = mean_interval([2.0])
    assert alone == Estimate(2.0, n=1) and alone.interval() == (None, None)
    three = mean_interval([1.0, 2.0, 3.0])
    assert three.se == pytest.approx(1 / math.sqrt(3)) and three.low == pytest.approx(2 - 4.302653 / math.sqrt(3))


def welch(a: list[float], b: list[float]) -> float | None:
    return welch_difference(a, b).p()


def arms(means: Sequence[float], ses: Sequence[float | None], n: int) -> list[Estimate]:
    return [Estimate(mean, se, n - 1.0, n=n) for mean, se in zip(means, ses, strict=True)]


def test_welch_agrees_with_scipy() -> None:
    from scipy.stats import ttest_ind

    rng = np.random.default_rng(2)

    a, b = list(rng.normal(0, 1, 5)), list(rng.normal(1, 3, 9))
    assert welch(a, b) == pytest.approx(ttest_ind(a, b, equal_var=False).pvalue)
    assert welch([1.0], b) is None and welch([], b) is None
    assert welch([0.0, 0.0], [0.0, 0.0]) == 1.0 and welch([0.0, 0.0], [1.0, 1.0]) == 0.0


def test_corrections_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert bh([0.01, 0.04, 0.03, None]) == pytest.approx([0.03, 0.04, 0.04, None])
    assert bh([]) == [] and holm([]) == []


def test_posterior_shrinks_towards_the_grand_mean() -> None:
    equal = posterior(arms([0.9, 1.0, 1.1, 1.0], [0.3] * 4, 4))
    assert [p.shrunk.value for p in equal] == pytest.approx([0.9333, 1.0, 1.0667, 1.0], abs=1e-3)
    apart = posterior(arms([0.0, 1.0, 2.0], [0.01] * 3, 4))
    assert [p.shrunk.value for p in apart] == pytest.approx([0, 1, 2], abs=0.01)
    few = posterior([*arms([0.0, 1.0], [0.3, 0.3], 4), Estimate(2.0, n=1)])
    assert few[2].shrunk.or_zero < 2.0 and (few[2].measured.se or 0.0) > (few[0].measured.se or 0.0)
    assert posterior([]) == []
    [alone] = posterior([Estimate(2.0, n=1)])
    assert alone.shrunk.value == 2.0 and alone.shrunk.se is not None and math.isfinite(alone.shrunk.se)
    luck = posterior([Estimate(0.0, n=1), Estimate(2.0, n=1)])
    assert 0.0 < luck[0].shrunk.or_zero < 1.0 < luck[1].shrunk.or_zero < 2.0


def test_posterior_beats_raw_means_and_its_se_is_honest() -> None:
    rng = np.random.default_rng(5)
    raw, shrunk, z = [], [], []
    for _ in range(400):
        truth = rng.normal(1.0, 0.2, 8)
        runs = [list(rng.normal(t, 0.35, 4)) for t in truth]
        means = [mean_interval(r) for r in runs]
        found = [score.shrunk for score in posterior(means)]
        raw += [m.or_zero - t for m, t in zip(means, truth, strict=True)]
        shrunk += [s.or_zero - t for s, t in zip(found, truth, strict=True)]
        z += [(s.or_zero - t) / (s.se or 0.0) for s, t in zip(found, truth, strict=True)]
    assert np.std(shrunk) < 0.88 * np.std(raw)
    assert np.mean(np.abs(z) < 2.0) > 0.93


@pytest.mark.parametrize(("arms", "runs"), [(2, 2), (3, 2), (8, 3), (20, 2)])
def test_interval_of_a_moderated_mean_covers_its_truth(arms: int, runs: int) -> None:
    """Few arms have few degrees of freedom to lend, and none counts its own spread twice."""
    rng, inside = np.random.default_rng(3), []
    for _ in range(1500):
        means = [mean_interval(rng.normal(0.0, 1.0, runs).tolist()) for _ in range(arms)]
        first = posterior(means)[0].measured
        low, high = first.interval()
        inside.append(low is not None and high is not None and low <= 0.0 <= high)
        assert first.df == runs - 1 + min(POOLED_DF, (arms - 1) * (runs - 1))
    assert 0.935 <= np.mean(inside) <= 0.965


def test_a_ratio_needs_a_divisor_whose_interval_lies_above_0() -> None:
    """The one rule, for scales, pages and views alike."""
    clear, vague = mean_interval([1.0, 1.2, 1.1]), mean_interval([1.0, -0.8, 1.1])
    assert clear.value and ratio(2.2, clear) == pytest.approx(2.0) and ratio(None, clear) is None
    assert vague.or_zero > 0 and not vague.is_positive and ratio(2.2, vague) is None
    assert all(ratio(2.2, mean_interval(values)) is None for values in ([1.0], [], [-1, -2]))


def test_mean_over_tasks_has_satterthwaites_degrees_of_freedom() -> None:
    """Three tasks with two pairs each, one of which dominates: about one degree of freedom, not three."""
    tasks = [Estimate(1.0, se, 1.0) for se in (1.0, 0.01, 0.01)]
    mean = mean_over_tasks(tasks)
    assert mean.value == 1.0 and mean.se == pytest.approx(1 / 3, rel=1e-3) and mean.df == pytest.approx(1.0, abs=1e-3)
    assert mean.low == pytest.approx(1.0 - 12.7 / 3, rel=0.01)
    assert mean_over_tasks([tasks[0].over(2.0)] * 2).value == 0.5
    assert mean_over_tasks([tasks[0], Estimate(1.0)]).se is None


def _skewed(skewness: float, shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Mean 0, sd 1."""
    if not skewness:
        return rng.standard_normal(shape)
    return np.sign(skewness) * (rng.gamma(4 / skewness**2, size=shape) * abs(skewness) / 2 - 2 / abs(skewness))


def _rejected(first: float, second: float, by: float = 0.0, draws: int = 4000, n: int = 10) -> tuple[float, float]:
    """Shares of draws in which the announced test and plain Welch claim that the first arm is better."""
    rng = np.random.Generator(np.random.PCG64(1))
    a, b = _skewed(first, (draws, n), rng) + by, _skewed(second, (draws, n), rng)
    pairs = [(x.tolist(), y.tolist()) for x, y in zip(a, b, strict=True)]
    ours = sum(skewed_difference(x, y).one_sided() < 0.025 for x, y in pairs)
    plain = sum((welch(x, y) or 1.0) < 0.05 and sum(x) > sum(y) for x, y in pairs)
    return ours / draws, plain / draws


@pytest.mark.parametrize(("first", "second"), [(-2.0, 0.0), (0.0, 2.0), (-2.0, 2.0), (-2.0, -2.0), (2.0, 2.0)])
def test_announced_test_holds_its_level_where_arms_are_skewed(first: float, second: float) -> None:
    ours, _ = _rejected(first, second)
    assert ours <= 0.0375  # 3.0% and three standard errors


def test_under_symmetric_noise_it_is_no_idle_test() -> None:
    level, _ = _rejected(0.0, 0.0)
    ours, plain = _rejected(0.0, 0.0, by=1.3, draws=1000)
    assert 0.0125 < level < 0.03
    assert plain - 0.1 < ours <= plain


def test_limits_and_test_agree_and_p_falls_as_differences_grow() -> None:
    rng = np.random.Generator(np.random.PCG64(2))
    for skewness in (-2.0, 0.0, 2.0):
        a, b = _skewed(skewness, (2, 10), rng)
        estimates = [skewed_difference((a + by).tolist(), b.tolist()) for by in np.linspace(-3.0, 6.0, 50)]
        ps = [estimate.one_sided() for estimate in estimates]
        assert ps == sorted(ps, reverse=True) and ps[-1] < 0.025 < ps[0]
        assert [p < 0.025 for p in ps] == [estimate.is_positive for estimate in estimates]


def test_an_estimate_without_spread_or_with_too_few_values() -> None:
    few = skewed_difference([1.0], [0.0, 1.0])
    assert few.one_sided() == 1.0 and few.interval() == (None, None)
    equal, better, worse = ([1.0, 1.0], [2.0, 2.0], [0.0, 0.0])
    assert [skewed_difference(a, equal).one_sided() for a in (equal, better, worse)] == [1.0, 1.0, 1.0]
    assert skewed_difference(better, equal).interval() == (None, None)


def test_mean_of_samples_together_is_that_of_all_their_values() -> None:
    one, other = [1.0, 2.5, 2.0, 0.5], [4.0, 3.0, 3.5]
    together = mean_together(map(mean_interval, (one, other)))
    assert astuple(together) == pytest.approx(astuple(mean_interval([*one, *other])))


def test_pooling_is_nearer_the_truth_and_owns_up_to_what_is_left() -> None:
    rng = np.random.default_rng(5)
    truth = rng.normal(0.3, 0.5, 400)
    seen = truth + 0.5 * rng.standard_normal(400)
    means, sds = np.array([(post.value, post.se) for post in pooled(arms(seen, [0.5] * 400, 10)) if post]).T
    assert np.mean((means - truth) ** 2) < 0.7 * np.mean((seen - truth) ** 2)
    assert np.mean(np.abs(means - truth) < 1.96 * sds) == pytest.approx(0.95, abs=0.03)
    assert pooled(arms([1.0, 2.0], [0.1, 0.1], 10)) == [None, None]
    assert pooled([*arms([1.0, 2.0, 3.0], [0.1] * 3, 10), Estimate(4.0)])[3] is None


def test_two_pairs_that_agree_are_pooled_like_others() -> None:
    """A tiny standard error of one degree of freedom is luck: the estimate is shrunk nearly as with the usual error."""
    rest, error = [0.05, -0.1, 0.0, 0.1, -0.05], 0.3
    [lucky, *_], [usual, *_] = (pooled(arms([0.5, *rest], [se, *[error] * 5], 2)) for se in (0.0005, error))
    assert lucky is not None and usual is not None
    assert lucky.value == pytest.approx(usual.value, abs=0.05) and lucky.or_zero < 0.2 and (lucky.se or 0.0) > 0.05


@pytest.mark.parametrize(
    ("a", "b", "difference"),
    [((1.0, 4), (1.0, 4), 2.0), ((0.2, 20), (1.0, 20), 0.7), ((0.1, 10), (1.0, 30), 0.5), ((1.0, 3), (0.5, 6), 1.5)],
)
def test_power_is_how_often_the_claims_own_test_says_so(
    a: tuple[float, int], b: tuple[float, int], difference: float
) -> None:
    rng, times = np.random.default_rng(1), 2000
    samples = [(rng.normal(difference, *a).tolist(), rng.normal(0.0, *b).tolist()) for _ in range(times)]
    told = sum(welch_difference(ours, theirs).one_sided() < 0.025 for ours, theirs in samples)
    expected = power(difference, RunSample(*a), RunSample(*b))
    assert abs(told / times - expected) < 3.5 * math.sqrt(expected * (1 - expected) / times)


def test_textbook_numbers_of_runs() -> None:
    """Cohen (1988): d = 0.5 wants 64 a side at two-sided 5% and power 80%, d = 0.8 wants 26, d = 1 wants 17."""
    assert [runs_needed(d, 1.0) for d in (0.5, 0.8, 1.0)] == [64, 26, 17]


def test_runs_needed_and_detectable_answer_each_other() -> None:
    for difference in (0.3, 1.0, 3.0):
        runs = runs_needed(difference, 1.0)
        assert runs is not None
        least, before = (detectable(RunSample(1.0, n), RunSample(1.0, n)) for n in (runs, runs - 1))
        assert least is not None and before is not None and least <= difference < before


def test_what_cannot_be_told_is_none() -> None:
    assert runs_needed(0.0, 1.0) is None and runs_needed(1e-6, 1.0) is None
    assert detectable(RunSample(1.0, 1), RunSample(1.0, 9)) is None
    assert detectable(RunSample(0.0, 3), RunSample(0.0, 3)) == 0.0 and runs_needed(0.1, 0.0) == 2
    assert power(1.0, RunSample(1.0, 1), RunSample(1.0, 5)) == 0.0


def test_without_a_difference_the_power_is_the_level() -> None:
    """Welch's level holds nearly: a little below for few runs."""
    for n in (5, 20, 200):
        assert power(0.0, RunSample(1.0, n), RunSample(1.0, n)) == pytest.approx(0.025, rel=0.2)
