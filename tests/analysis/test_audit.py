"""What a check on fresh data says, on numbers whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.verdict.gain_estimate import GainEstimate, gain_over_rows, gain_over_seeds
from analysis.verdict.recheck import Lead, keeps_its_gain, lead, source_verdict, study_verdict, too_high
from trainer.rows import COUNT, DRAWN, EXACT, UNKNOWN

BASELINE = [1.60, 1.62, 1.61, 1.59]


def mean_difference(metrics: list[float | None], baseline: list[float], sign: float) -> GainEstimate:
    middle = sum(baseline) / len(baseline)
    return gain_over_seeds([0.0 if m is None else sign * (middle - m) for m in metrics], baseline, UNKNOWN)


def test_gain_is_the_distance_to_baseline_and_a_failure_has_none() -> None:
    found = mean_difference([1.50, None], BASELINE, 1.0)
    assert found.gain == pytest.approx((0.105 + 0.0) / 2) and found.n == 2
    assert mean_difference([1.50, 1.51], BASELINE, -1.0).gain == pytest.approx(-0.1)


@pytest.mark.parametrize(
    ("metrics", "reasons", "embedded", "verdict"),
    [
        ([1.50, 1.51, 1.49], [], "", "better than the baseline"),
        ([1.70, 1.71, 1.69], [], "", "worse"),
        ([1.61, 1.58, 1.62], [], "", "not shown"),
        ([1.4, None], ["crash: no"], "", "not shown"),
        ([None, None], ["crash: no"] * 2, "", "invalid: crash: no"),  # it fails under every seed
        ([None, None], ["invalid: not finite"] * 2, "", "invalid: not finite"),
        ([1.4, 1.41], [], "embedded: all", "invalid: embedded: all"),  # it needs no training
    ],
)
def test_a_source_is_judged_by_its_interval(
    metrics: list[float | None], reasons: list[str], embedded: str, verdict: str
) -> None:
    assert source_verdict(mean_difference(metrics, BASELINE, 1.0), reasons, embedded, len(metrics)) == verdict


def test_gain_that_stays_untrained_differs_from_one_that_is_lost() -> None:
    trained = mean_difference([1.40, 1.41, 1.39], BASELINE, 1.0)
    assert keeps_its_gain(trained, mean_difference([1.42, 1.43, 1.44], BASELINE, 1.0))
    assert not keeps_its_gain(trained, mean_difference([1.55, 1.56, 1.54], BASELINE, 1.0))
    assert not keeps_its_gain(trained, mean_difference([2.30, 2.31, 2.29], BASELINE, 1.0))
    assert not keeps_its_gain(trained, mean_difference([None, None], BASELINE, 1.0))


def measured(rng: np.random.Generator, champion: float, stock: float, runs: int) -> Lead:
    baseline = list(rng.normal(1.6, 0.02, 8))
    arms = list(rng.normal(champion, 0.1, runs)), list(rng.normal(stock, 0.1, runs))
    return lead(*arms, baseline, (1.0, 1.0), DRAWN)


def test_noise_of_a_gain_is_named_and_no_interval_has_width_zero() -> None:
    """Same metrics under all seeds: 100 fixed rows and a deterministic script, as a newcomer's."""
    fixed = gain_over_seeds([0.01, 0.01, 0.01], [0.24, 0.24, 0.24], UNKNOWN)
    assert (fixed.gain, fixed.low, fixed.high, fixed.noise) == (pytest.approx(0.01), None, None, "")
    assert gain_over_seeds([0.01] * 3, [0.24] * 3, COUNT).low is None
    for third in (0.1, 0.02, 0.7 / 3):  # the mean of three equal numbers may be another one
        assert gain_over_seeds([third] * 3, [third] * 3, UNKNOWN).noise == ""
    exact = gain_over_seeds([3.0, 3.0], [40.0, 40.0], EXACT)
    assert (exact.low, exact.noise) == (None, "exact")
    seeds = gain_over_seeds([0.01, 0.02, 0.03], BASELINE, UNKNOWN)
    assert seeds.noise == "seeds" and seeds.low is not None
    drawn = gain_over_seeds([0.01, 0.02, 0.03], [], DRAWN)
    assert drawn.noise == "seeds rows" and drawn.se == pytest.approx(0.01 / 3**0.5)
    assert seeds.se is not None and seeds.se > drawn.se  # a shared baseline has an error of its own


def test_a_few_rows_that_differ_show_nothing() -> None:
    """Of n that differ, all to the better: by chance in one case of 2ⁿ, and 2.5% are the limit."""
    found = {n: gain_over_rows(np.array([1.0] * n + [0.0] * (90 - n))) for n in (0, 1, 4, 5, 8)}
    assert [found[n].is_positive for n in found] == [False, False, False, False, True]
    assert found[0].low is None and found[0].noise == "" and found[8].noise == "rows"
    many = gain_over_rows(np.random.default_rng(1).normal(0.1, 1.0, 400))
    assert many.df > 100 and many.low is not None and many.high is not None


def test_a_source_that_ignores_its_seed_is_one_draw() -> None:
    still = gain_over_seeds([0.1, 0.1, 0.1], BASELINE, UNKNOWN)
    assert still.n == 1 and still.se == pytest.approx(np.std(BASELINE, ddof=1) * (1 + 1 / 4) ** 0.5)
    rows = gain_over_seeds([0.1, 0.3], [], DRAWN, ignores_seed=True)
    assert rows.n == 1 and rows.se == pytest.approx(np.std([0.1, 0.3], ddof=1) * 1.5**0.5)


def test_verdicts_of_studies_against_the_truth() -> None:
    rng = np.random.default_rng(3)
    found = {"honest": [], "forged": [], "nothing": []}  # type: dict[str, list[str]]
    for _ in range(200):
        split = 1.0 + rng.normal(0, 0.05)  # another split changes what there is to gain
        honest = measured(rng, 0.9, 0.45, 20)
        found["honest"].append(study_verdict(honest, measured(rng, 0.9 * split, 0.45 * split, 8), "")[0])
        found["forged"].append(study_verdict(honest, measured(rng, 0.45, 0.45, 8), "")[0])
        same = measured(rng, 0.5, 0.5, 20)
        found["nothing"].append(study_verdict(same, measured(rng, 0.5, 0.5, 8), "")[0])
    assert found["honest"].count("confirmed") > 195 and "contradicted" not in found["honest"]
    assert found["forged"].count("contradicted") > 195
    assert found["nothing"].count("nothing to confirm") > 185 and found["nothing"].count("contradicted") <= 2


def test_weights_in_the_source_contradict_a_study() -> None:
    rng = np.random.default_rng(4)
    told = measured(rng, 0.9, 0.4, 20)
    assert study_verdict(told, told, "embedded: 0.8 of 0.9") == ("contradicted", "embedded: 0.8 of 0.9")


def test_one_run_can_neither_confirm_nor_contradict() -> None:
    rng = np.random.default_rng(5)
    one = measured(rng, 0.1, 0.4, 1)
    recorded = measured(rng, 0.9, 0.4, 20)
    assert not too_high(recorded.lead, one.lead)
    assert study_verdict(recorded, one, "")[0] == "not confirmed"
