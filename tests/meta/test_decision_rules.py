"""The A/A difference by itself, and the sentence on a champion's origin: what needs no study."""

from __future__ import annotations

from dataclasses import astuple, replace

import numpy as np
import pytest

from analysis.found_scripts import FoundScript
from analysis.statistics import Mean, interval, mean_interval, welch_difference
from analysis.verdict.decision import BETTER, OPEN, ArmGain, OnOneTask, twins
from analysis.verdict.verdict import minus
from meta.claim import Against, claim, decide
from meta.cli.study_result import worth_applying
from programs.program import Program
from tests.meta.test_decision import AHEAD
from trainer.task import Task


def drawn(rng: np.random.Generator, shift: float = 0.0) -> dict[str, list[float]]:
    sizes = {"champion": 10, "control": 10, "a/a": 4}
    return {role: rng.normal(shift if role == "a/a" else 0.0, 0.3, n).tolist() for role, n in sizes.items()}


def test_the_interval_of_stock_s_arms_covers_zero_in_95_percent_and_no_claim_depends_on_it() -> None:
    rng = np.random.default_rng(20)
    made = [claim(drawn(rng)) for _ in range(2000)]
    outside = sum(aa.low is not None and aa.high is not None and aa.low * aa.high > 0 for one in made for aa in one.aa)
    assert 0.035 < outside / len(made) < 0.065
    assert 0.015 < sum(one.holds for one in made) / len(made) < 0.035
    apart = claim({"champion": [9.0, 9.1, 9.2, 8.9], "control": [0.1, 0.2, 0.15, 0.12], "a/a": [5.0, 5.1, 5.2, 5.1]})
    (aa,) = apart.aa
    assert aa.low is not None and aa.low > 4 and apart.holds and apart.p < 0.025


def test_the_interval_of_stock_s_arms_is_that_of_a_t_test_with_one_variance() -> None:
    few = {"champion": [1.0, 1.2], "control": [0.1, 0.2, 0.15, 0.12], "a/a": [5.0, 5.1, 5.2]}
    (aa,) = claim(few).aa
    arms = [ArmGain("p", role, "", "", len(few[role]), *(astuple(mean_interval(few[role]))[:2])) for role in few]
    assert aa == twins([replace(arms[1], role="control"), arms[2]])
    squares = sum(float(np.var(few[role])) * len(few[role]) for role in ("control", "a/a"))  # pooled, over 5 df
    half = 2.570582 * (squares / 5 * (1 / 4 + 1 / 3)) ** 0.5
    assert aa.difference == pytest.approx(5.1 - 0.1425)
    assert (aa.low, aa.high) == (pytest.approx(aa.difference - half), pytest.approx(aa.difference + half))


def test_a_champion_without_its_ideas_is_apart_by_welch_s_interval() -> None:
    with_them, without = [1.0, 1.2, 1.5], [0.2, 0.9, 0.5, 0.4]
    difference, se, df = welch_difference(with_them, without)
    assert difference is not None
    told = minus(mean_interval(with_them), mean_interval(without))
    assert told == pytest.approx((difference, *interval(difference, se, df)))
    assert minus(mean_interval(with_them), mean_interval([0.5]))[1:] == (None, None)


def test_apply_is_offered_only_for_a_script_of_the_task_that_it_commits_to() -> None:
    found = [FoundScript(task, "u", 1.0, 30, 0.2, low, 0.3, 8, "verified") for task, low in
             (("first", -0.1), ("second", 0.1))]  # fmt: skip
    tasks = [OnOneTask(one.task, "u", 1.0, True, *2 * (Mean(0.0, 0.1, 4, None, None),), None, None)
             for one in found]  # fmt: skip
    program = Program.parse("# A\n", "a")
    of_two = replace(decide(program, claim(AHEAD), [Task.load("strokes")]), state=OPEN, scripts=tuple(found))
    assert worth_applying(of_two) and not worth_applying(replace(of_two, tasks=tuple(tasks)))
    assert worth_applying(replace(of_two, tasks=tuple(tasks[::-1])))
    assert worth_applying(replace(of_two, state=BETTER, tasks=tuple(tasks)))


def test_shares_of_untouched_runs_are_pooled_by_their_runs() -> None:
    gains = {"champion": [0.3, 0.4, 0.5], "control": [0.0, 0.2, 0.1], "a/a": [0.1]}
    against = Against((1.0, 1.2, 0.9), {"champion": 1.0, "control": 1.0, "a/a": 0.0})
    alone = claim({"champion": gains["champion"], "control": [0.0, 0.2, 0.1, 0.1]},
                  Against(against.baseline, {"champion": 1.0, "control": 0.75}))  # fmt: skip
    assert replace(claim(gains, against), aa=()) == alone
