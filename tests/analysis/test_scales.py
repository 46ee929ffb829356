"""What gains on a task are divided by."""

from __future__ import annotations

import math

import pytest

from analysis.scales import pooled_sd, scale_of


def test_the_spread_is_that_about_each_programs_own_mean() -> None:
    """Squares 2 and 6 about the means 1 and 2, on one and two degrees of freedom; one run alone says nothing."""
    assert pooled_sd([[0.0, 2.0], [1.0, 1.0, 4.0], [9.0]]) == pytest.approx(math.sqrt(8 / 3))
    assert pooled_sd([[5.0], []]) == 0.0 and pooled_sd([[2.0, 2.0]]) == 0.0


def test_stock_is_the_scale_where_it_surely_gains() -> None:
    clear = scale_of("t", "nats", [2.0, 2.2, 1.8])
    assert clear.of_stock and clear.size == pytest.approx(2.0)
    vague = scale_of("t", "nats", [3.0, -1.0], [[0.0, 2.0]])
    assert not vague.of_stock and vague.size == pytest.approx(math.sqrt(10 / 2))
    assert scale_of("t", "nats", [1.0]).size == 1.0  # nothing is known of the spread
