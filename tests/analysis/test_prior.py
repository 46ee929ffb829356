"""What past studies say of programs: pooled over places, with what places differ by."""

from __future__ import annotations

import math

import pytest

from analysis.prior import PastGain, expected


def row(program: str, ratio: float, se: float, study: str = "y1", task: str = "a", n: int = 4) -> PastGain:
    return PastGain(study, task, program, program, ratio, se, n)


def test_places_are_weighted_by_precision_and_runs_add_up() -> None:
    [one] = expected([row("p", 1.0, 0.1), row("p", 1.1, 0.2, "y2", n=3)])
    assert one.places == 2 and one.n == 7
    assert one.ratio == pytest.approx((1.0 / 0.01 + 1.1 / 0.04) / (1 / 0.01 + 1 / 0.04))
    assert one.se == pytest.approx((1 / 0.01 + 1 / 0.04) ** -0.5)  # the two agree: places differ by luck alone


def test_places_that_disagree_widen_what_may_be_expected() -> None:
    agreed = expected([row("p", 1.0, 0.1), row("p", 1.05, 0.1, "y2")])[0]
    apart = expected([row("p", 0.5, 0.1), row("p", 2.5, 0.1, "y2")])[0]
    assert apart.se > 1.0 > agreed.se
    other = expected([row("p", 0.5, 0.1), row("p", 2.5, 0.1, "y2"), row("q", 2.0, 0.1)])
    assert next(one for one in other if one.program_id == "q").se > 1.0  # what one shows holds for all


def test_one_study_tells_half_of_what_it_says() -> None:
    found = {one.program_id: one for one in expected([row(str(k), float(k), 1e-9) for k in (1, 2, 3)])}
    assert found["3"].se == pytest.approx(math.sqrt(2.0))  # their own variance, 1, in its mean and in a further place


def test_the_best_come_first_and_one_alone_is_hardly_believed() -> None:
    assert [one.program_id for one in expected([row("a", 1.0, 0.1), row("b", 2.0, 0.1)])] == ["b", "a"]
    assert expected([row("a", 3.0, 0.1)])[0].se > 1.0
    assert expected([]) == []
