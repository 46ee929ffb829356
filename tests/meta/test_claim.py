"""The one test, also over several tasks, what stands beside it, and what it says of the baseline's error."""

from __future__ import annotations

import math
from dataclasses import astuple, replace
from pathlib import Path
from statistics import fmean

import numpy as np
import pytest
from scipy.stats import t as student

from analysis.ledger.events import BaselineEvent, VerificationEvent
from analysis.statistics import Estimate, mean_interval
from analysis.study import open_study
from analysis.verdict.claim import Against, Gains, claim, claim_over
from analysis.verdict.decision import BETTER, OPEN, ArmGain, Decision, FoundScript, OnOneTask, twins
from analysis.views.scales import GainScale
from arena.arms import Entry, enter
from arena.match import announce
from arena.study.task_study import TaskStudy
from inner_loop.events import RunEndedEvent, RunStartedEvent
from meta.cli.study_result import is_worth_applying
from meta.confirmation import final_samples
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


def test_equal_tasks_shrink_the_error_and_add_degrees_of_freedom() -> None:
    """Each task: difference .7, variance .5 / 6 + .5 / 6 on 10 degrees of freedom; of both, half of it on 20."""
    one = claim(gains(1.0), KNOWN)
    both = claim_over([(scale("a", 1.0), gains(1.0), KNOWN), (scale("b", 50.0), gains(50.0), KNOWN)])
    se = math.sqrt(1 / 6 / 2)
    assert both.tested.lead.value == pytest.approx(one.tested.lead.value) == pytest.approx(0.7)
    assert both.p == pytest.approx(student.sf(0.7 / se, 20))
    assert both.tested.lead.interval() == pytest.approx(student.interval(0.95, 20, 0.7, se))
    assert one.p == pytest.approx(student.sf(0.7 / math.sqrt(1 / 6), 10))
    assert [on.task for on in both.tasks] == ["a", "b"]
    assert both.champion.value == pytest.approx(0.7) and both.champion.n == 6


def test_unequal_tasks_have_satterthwaites_degrees_of_freedom() -> None:
    """A task that is twice as noisy in its own scale: variances 1/6 and 4/6 on 10 each."""
    loud = {"champion": [2 * v + 0.7 for v in BASE], "control": [2 * v for v in BASE]}
    both = claim_over([(scale("a", 1.0), gains(1.0), KNOWN), (scale("b", 1.0), loud, KNOWN)])
    df = (5 / 6) ** 2 / ((1 / 6) ** 2 / 10 + (4 / 6) ** 2 / 10)
    assert both.p == pytest.approx(student.sf(0.7 / math.sqrt(5 / 6 / 4), df))


def test_without_ideas_is_stated_where_it_ran_on_every_task() -> None:
    with_it = gains(1.0, **{"without-ideas": BASE})
    everywhere = claim_over([(scale("a", 1.0), with_it, KNOWN), (scale("b", 1.0), with_it, KNOWN)])
    assert everywhere.bare is not None
    once = claim_over([(scale("a", 1.0), with_it, KNOWN), (scale("b", 1.0), gains(1.0), KNOWN)])
    assert once.bare is None


def test_start_of_the_champion_is_compared_beside_the_test() -> None:
    start = [0.3, 0.5, 0.4, 0.45]
    made = [(scale(name, size), gains(size, start=[size * gain for gain in start]), Against((), {})) for name, size in
            (("a", 1.0), ("b", 4.0))]  # fmt: skip
    alone, both, none = claim(made[0][1]), claim_over(made), claim(gains(1.0))
    assert none.start is None and alone.start and both.start
    assert claim(gains(1.0, own=start)).stock == none.stock == mean_interval(BASE)
    for one in (alone, both):
        assert one.start and one.start.lead.value == pytest.approx(one.champion.or_zero - sum(start) / 4)
        assert one.start.lead.low < one.start.lead.value < one.start.lead.high
    assert (alone.p, alone.tested) == (none.p, none.tested)  # no part of the test


def test_row_that_failed_or_ended_at_its_start_has_no_baseline(tmp_path: Path) -> None:
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
                study.record(example(VerificationEvent, arm_id=arm.arm_id, gain=float(k), **told))
            for run in (f"r{arm.role}{number}" for number in range(3)):
                begun = {"match_id": match.match_id, "arm_id": arm.arm_id, "task": study.task.name}
                study.record(example(RunStartedEvent, run_id=run, **begun))
                study.record(example(RunEndedEvent, run_id=run, state="finished"))
        sample, found = final_samples(TaskStudy(study), match.match_id)
    with open_study(study.folder) as con:
        [means] = con.execute("SELECT list((role, gain) ORDER BY role) FROM standings").fetchone() or ()
    assert means == [(role, fmean(sample[role])) for role in ("champion", "control")] and len(sample["champion"]) == 3
    assert found.baseline == (0.5, 0.7)
    assert found.touched == {"champion": 0.5, "control": 1 / 3}


def drawn(rng: np.random.Generator, shift: float = 0.0) -> dict[str, list[float]]:
    sizes = {"champion": 10, "control": 10, "a/a": 4}
    return {role: rng.normal(shift if role == "a/a" else 0.0, 0.3, n).tolist() for role, n in sizes.items()}


def test_interval_stocks_arms_covers_zero_and_decides_no_claim() -> None:
    rng = np.random.default_rng(20)
    made = [claim(drawn(rng)) for _ in range(2000)]
    outside = sum(aa.lead.low * aa.lead.high > 0 for one in made for aa in one.aa)
    assert 0.035 < outside / len(made) < 0.065
    assert 0.015 < sum(one.holds for one in made) / len(made) < 0.035
    apart = claim({"champion": [9.0, 9.1, 9.2, 8.9], "control": [0.1, 0.2, 0.15, 0.12], "a/a": [5.0, 5.1, 5.2, 5.1]})
    (aa,) = apart.aa
    assert aa.lead.low > 4 and apart.holds and apart.p < 0.025


def test_interval_of_stocks_arms_is_a_t_test_with_one_variance() -> None:
    few = {"champion": [1.0, 1.2], "control": [0.1, 0.2, 0.15, 0.12], "a/a": [5.0, 5.1, 5.2]}
    (aa,) = claim(few).aa
    arms = [ArmGain("p", role, "", "", len(few[role]), *astuple(mean_interval(few[role]))[:2]) for role in few]
    assert aa == twins([replace(arms[1], role="control"), arms[2]])
    squares = sum(float(np.var(few[role])) * len(few[role]) for role in ("control", "a/a"))  # pooled, over 5 df
    half = 2.570582 * (squares / 5 * (1 / 4 + 1 / 3)) ** 0.5
    assert aa.lead.value == pytest.approx(5.1 - 0.1425)
    assert aa.lead.interval() == pytest.approx((aa.lead.value - half, aa.lead.value + half))


def test_apply_is_offered_only_for_a_script_of_its_own_task() -> None:
    found = [FoundScript(task, "u", 1.0, 30, 0.2, low, 0.3, 8, "verified", noise="seeds")
             for task, low in (("first", -0.1), ("second", 0.1))]  # fmt: skip
    tasks = [OnOneTask(script.task, "u", 1.0, True, *3 * (Estimate(0.0),)) for script in found]
    measured = claim(gains(1.0))
    of_two = Decision(OPEN, "a", "u", (), measured.champion, measured.tested, measured.p, scripts=tuple(found))
    assert is_worth_applying(of_two) and not is_worth_applying(replace(of_two, tasks=tuple(tasks)))
    assert is_worth_applying(replace(of_two, tasks=tuple(tasks[::-1])))
    assert is_worth_applying(better := replace(of_two, state=BETTER, tasks=tuple(tasks)))
    assert not is_worth_applying(replace(better, same_as="champion"))  # the user's program, unchanged


def test_shares_of_untouched_runs_are_pooled_by_their_runs() -> None:
    made = {"champion": [0.3, 0.4, 0.5], "control": [0.0, 0.2, 0.1], "a/a": [0.1]}
    base, shares = (1.0, 1.2, 0.9), {"champion": 1.0, "control": 1.0, "a/a": 0.0}
    pooled = made | {"control": [0.0, 0.2, 0.1, 0.1], "a/a": []}
    alone = claim(pooled, Against(base, {"champion": 1.0, "control": 0.75}))
    assert replace(claim(made, Against(base, shares)), aa=()) == alone
