"""Average gains and the tests between them, against Welch's test by hand."""

from __future__ import annotations

import random
from itertools import combinations

import pytest

from analysis.statistics import mean_interval, welch_difference
from arena.contest.ranking.score import plain


def test_arms_are_compared_by_welchs_test_of_their_gains() -> None:
    rng = random.Random(4)
    gains = {f"p{k}": [rng.gauss(k / 3, 1.0) for _ in range(3 + k % 3)] for k in range(9)}
    gains |= {"same": [1.0, 1.0], "alike": [1.0, 1.0], "once": [4.0]}
    scores = plain(gains)
    assert scores.values == pytest.approx({arm: sum(v) / len(v) for arm, v in gains.items()})
    for a, b in combinations(gains, 2):
        lead, told = welch_difference(gains[a], gains[b]), scores.over(a, b)
        assert told[0] == pytest.approx(lead.value)
        assert told[2] == pytest.approx(lead.high)  # equal gains have no interval
    for arm, values in gains.items():
        own = mean_interval(values)
        assert scores.interval(arm) == pytest.approx((own.se, own.low, own.high))
