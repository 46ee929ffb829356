"""A run's meter: everything that ran is charged, and nothing starts that the rest of the budget does not pay."""

from __future__ import annotations

import pytest

from inner_loop.events import Experiment
from inner_loop.meter import EPSILON, RunMeter
from tests.events import example


def ended(status: str, seconds: float = 2.0, fraction: float = 1.0) -> Experiment:
    return example(
        Experiment, status=status, metric=1.0 if status == "ok" else None, fraction=fraction,
        device_seconds_charged=seconds, device_seconds_spent=seconds,
    )  # fmt: skip


@pytest.mark.parametrize("status", ["ok", "crash", "invalid", "oom", "timeout", "fault"])
def test_whatever_came_of_it_is_charged(status: str) -> None:
    meter = RunMeter(budget=10.0, prior=1.0, soft=0.5)
    meter.add(ended(status))
    assert (meter.charged, meter.spent, meter.remaining) == (2.0, 2.0, 8.0)


def test_what_is_left_pays_the_whole_of_what_it_affords() -> None:
    meter = RunMeter(budget=10.0, prior=1.0, soft=0.5)
    meter.add(ended("ok", 6.0))
    assert meter.affords(4.0) and meter.affords(4.0 + EPSILON / 2)
    assert not meter.affords(4.0 + 1e-6) and not meter.affords(4.5)
    meter.aside = 1.0
    assert meter.remaining == 3.0 and not meter.affords(3.5)
    assert meter.forfeited == 4.0  # what is set aside is still the run's


def test_more_than_the_budget_is_overshoot_and_leaves_nothing() -> None:
    meter = RunMeter(budget=10.0, prior=1.0, soft=0.5)
    meter.add(ended("ok", 12.0))
    assert (meter.overshoot, meter.remaining, meter.forfeited) == (2.0, 0.0, 0.0)
    assert not meter.affords(0.5)


def test_next_cost_is_expected_from_those_that_ended_well() -> None:
    """Launch and scoring do not shrink with the fraction: of 4 s, 1 s does."""
    meter = RunMeter(budget=100.0, prior=4.0, soft=1.0)
    assert (meter.expected(), meter.expected(0.25)) == (4.0, 3.25)
    meter.add(ended("crash", 0.5))
    assert meter.expected() == 4.0
    meter.add(ended("ok", 5.0))
    meter.add(ended("ok", 7.0))
    assert (meter.expected(), meter.expected(0.5)) == (6.0, 5.5)
    meter.add(ended("ok", 2.0, fraction=0.5))
    assert (meter.expected(), meter.expected(0.5)) == (6.0, 2.0)
