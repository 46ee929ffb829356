"""Power: against simulation of the very test, against textbook figures, and the noise between the runs of a study."""

from __future__ import annotations

import math

import numpy as np
import pytest

from analysis.statistics import welch_difference
from analysis.verdict.power import RunSample, detectable, power, runs_needed


@pytest.mark.parametrize(
    ("a", "b", "difference"),
    [
        (RunSample(1.0, 4), RunSample(1.0, 4), 2.0),
        (RunSample(0.2, 20), RunSample(1.0, 20), 0.7),
        (RunSample(0.1, 10), RunSample(1.0, 30), 0.5),
        (RunSample(1.0, 3), RunSample(0.5, 6), 1.5),
    ],
)
def test_power_is_how_often_the_claims_own_test_says_so(a: RunSample, b: RunSample, difference: float) -> None:
    rng, times = np.random.default_rng(1), 3000
    told = 0
    for _ in range(times):
        ours, theirs = rng.normal(difference, a.sd, a.n).tolist(), rng.normal(0.0, b.sd, b.n).tolist()
        told += welch_difference(ours, theirs).one_sided() < 0.025
    expected = power(difference, a, b)
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
