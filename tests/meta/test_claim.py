"""The one test, over several tasks, and which rows share the error of the baseline that gains are taken against."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from scipy.stats import t as student

from analysis.ledger.events import BaselineEvent, VerificationEvent
from analysis.scales import GainScale
from analysis.statistics import mean_interval
from arena.arms import Entry, enter
from arena.match import announce
from arena.task_study import TaskStudy
from meta.claim import Against, Gains, claim, claim_over
from meta.confirmation import against
from programs.shelf import starter
from tests.events import example
from tests.studies import make_study, silent

BASE = [-1.0, -0.5, 0.0, 0.0, 0.5, 1.0]  # its variance is .5; symmetric, so that nothing is corrected for skewness
KNOWN = Against((), {})


def scale(task: str, size: float) -> GainScale:
    return GainScale(task, "nats", size, True, mean_interval([size, size]))


def gains(size: float, by: float = 0.7, **more: list[float]) -> Gains:
    """Of a task on which everything is so many times as large."""
    return {"champion": [size * (v + by) for v in BASE], "control": [size * v for v in BASE], **more}


def test_of_equal_tasks_the_error_shrinks_and_the_degrees_of_freedom_add_up() -> None:
    """Each task: difference .7, variance .5 / 6 + .5 / 6 on 10 degrees of freedom; of both, half of it on 20."""
    one = claim(gains(1.0), KNOWN)
    both = claim_over([(scale("a", 1.0), gains(1.0), KNOWN), (scale("b", 50.0), gains(50.0), KNOWN)])
    se = math.sqrt(1 / 6 / 2)
    assert both.tested.difference == pytest.approx(one.tested.difference) == pytest.approx(0.7)
    assert both.p == pytest.approx(student.sf(0.7 / se, 20))
    assert (both.tested.low, both.tested.high) == pytest.approx(
        (0.7 - student.ppf(0.975, 20) * se, 0.7 + student.ppf(0.975, 20) * se)
    )
    assert one.p == pytest.approx(student.sf(0.7 / math.sqrt(1 / 6), 10))
    assert [on.task for on in both.tasks] == ["a", "b"]
    assert both.champion.mean == pytest.approx(0.7) and both.champion.n == 6


def test_the_degrees_of_freedom_of_unequal_tasks_are_those_of_satterthwaite() -> None:
    """A task that is twice as noisy in its own scale: variances 1/6 and 4/6 on 10 each."""
    loud = {"champion": [2 * v + 0.7 for v in BASE], "control": [2 * v for v in BASE]}
    both = claim_over([(scale("a", 1.0), gains(1.0), KNOWN), (scale("b", 1.0), loud, KNOWN)])
    df = (5 / 6) ** 2 / ((1 / 6) ** 2 / 10 + (4 / 6) ** 2 / 10)
    assert both.p == pytest.approx(student.sf(0.7 / math.sqrt(5 / 6 / 4), df))


def test_without_its_ideas_it_is_told_of_where_it_ran_on_every_task() -> None:
    with_it = gains(1.0, **{"without-ideas": BASE})
    everywhere = claim_over([(scale("a", 1.0), with_it, KNOWN), (scale("b", 1.0), with_it, KNOWN)])
    assert everywhere.bare is not None
    once = claim_over([(scale("a", 1.0), with_it, KNOWN), (scale("b", 1.0), gains(1.0), KNOWN)])
    assert once.bare is None


def test_the_program_that_the_champion_started_from_is_compared_beside_the_test() -> None:
    start = [0.3, 0.5, 0.4, 0.45]
    made = [(scale(name, size), gains(size, start=[size * gain for gain in start]), Against((), {})) for name, size in
            (("a", 1.0), ("b", 4.0))]  # fmt: skip
    alone, both, none = claim(made[0][1]), claim_over(made), claim(gains(1.0))
    assert none.start is None and alone.start and both.start
    for one in (alone, both):
        assert one.start and one.start.difference == pytest.approx((one.champion.mean or 0) - sum(start) / 4)
        assert one.start.low is not None and one.start.low < one.start.difference < (one.start.high or 0)
    assert (alone.p, alone.tested) == (none.p, none.tested)  # no part of the test


def test_a_row_that_failed_or_ended_where_it_began_was_not_held_against_the_baseline(tmp_path: Path) -> None:
    statuses = {
        "champion": ("ok", "ok", "crash", "ok", "timeout", "invalid"),
        "control": ("baseline", "baseline", "ok", "ok", "crash", "crash"),
    }
    with make_study(tmp_path / "s") as study:
        entries = [Entry(starter("local"), "champion"), Entry(starter("stock"), "control")]
        match = enter(TaskStudy(study), "confirmation", entries, purpose="confirmation", stream="confirmation")
        announce(TaskStudy(study), match, silent)
        for seed, metric in enumerate((0.5, 0.7)):
            row = {"stream": "confirmation", "seed": seed, "status": "ok", "metric": metric}
            study.record(example(BaselineEvent, match_id=match.match_id, task=study.task.name, **row))
        for arm in match.arms:
            for k, status in enumerate(statuses[arm.role]):
                told = {"run_id": f"r{arm.role}{k // 2}", "seed": k, "status": status, "stream": "confirmation"}
                study.record(example(VerificationEvent, arm_id=arm.arm_id, **told))
        found = against(TaskStudy(study), match.match_id)
    assert found.baseline == (0.5, 0.7)
    assert found.touched == {"champion": 0.5, "control": 1 / 3}
