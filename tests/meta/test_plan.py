"""Sizes of studies: what a plan costs, and the largest that fits a budget."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from arena.study.setup import RunCost
from meta.kinds import size
from meta.kinds.plans import EvolvePlan
from meta.novelty import Novelty
from meta.population import entries, starters
from programs.common.errors import UsageError
from programs.program import Program
from tests.studies import RUN_BUDGET, TINY
from trainer.task import Task

from .cli_study import metaloop

STROKES = Task.load("strokes")
COST = RunCost(STROKES, RUN_BUDGET)


def seconds_of(plan: EvolvePlan) -> float:
    return size.device_seconds(plan, COST)


def within(budget: float) -> EvolvePlan:
    return size.within(budget, seconds_of, lambda plan: plan, STROKES)


def test_runs_are_counted_part_by_part() -> None:
    # opening 3 x 2, its best two one more each, A/A 2; one generation of 2 + 1 programs x 2, the best one more
    plan = TINY.model_copy(update={"children": 2})
    assert plan.search_runs == 6 + 2 + 2 + 6 + 1
    assert plan.runs == plan.search_runs + 2 * 3 + 2 + 2  # champion and stock, without ideas, A/A


def test_the_device_time_holds_runs_verifications_and_baselines() -> None:
    expected = TINY.runs * RUN_BUDGET + (TINY.runs * 2 + 2 * 8) * STROKES.cost_seconds
    assert size.device_seconds(TINY, COST, confirm_seeds=2) == pytest.approx(expected)
    more = seconds_of(TINY) - expected  # a claim is verified with four seeds
    assert more == pytest.approx(2 * TINY.final_runs * STROKES.cost_seconds)


@pytest.mark.parametrize("budget", [200.0, 300.0, 700.0])
def test_a_plan_within_a_budget_fits_it_and_wastes_little(budget: float) -> None:
    assert 0.75 * budget <= seconds_of(within(budget)) <= budget


def test_a_larger_budget_never_buys_fewer_runs() -> None:
    runs = [within(budget).runs for budget in range(200, 1500, 50)]
    assert runs == sorted(runs)


def test_a_budget_that_buys_nothing_is_refused_with_the_price() -> None:
    with pytest.raises(UsageError, match="smallest study on strokes takes about"):
        within(5.0)


@pytest.mark.parametrize(
    ("words", "numbers"),
    [
        ("", {}),
        ("--set generations=6", {"generations": 6}),
        ("--runs 8", {"runs": 8}),
        ("--set generations=5 --runs 6 --set harvest=40", {"generations": 5, "runs": 6, "harvest_percent": 40}),
    ],
)
def test_no_flag_puts_a_plan_above_its_budget(words: str, numbers: dict[str, int]) -> None:
    planned = metaloop("evolve", "--budget", "1200s", *words.split(), "--dry-run", "--json").json
    assert planned["device_seconds"] <= 1200
    plan = planned["plan"] | {"runs": planned["plan"]["generation"]["runs"]}
    assert {name: plan[name] for name in numbers} == numbers


def test_flags_that_do_not_fit_their_budget_are_refused() -> None:
    done = metaloop("evolve", "-t", "strokes", "--budget", "8m", "--runs", "90", "--dry-run", code=2)
    assert "a budget of 480 s is too small" in done.stderr and "--runs" in done.stderr


def test_runs_of_each_program_are_those_of_every_race() -> None:
    plan = size.with_runs(size.DEFAULT, 9)
    assert {race.runs for race in (plan.opening, plan.generation)} == {9}
    assert {race.more for race in (plan.opening, plan.generation)} == {9}
    assert size.with_runs(size.DEFAULT, None) == size.scaled(size.DEFAULT, 1.0) == size.DEFAULT


def test_the_planned_runs_are_those_of_all_tasks() -> None:
    quick = size.QUICK
    alone: dict[str, Any] = {"further": [], "held_out": []}
    assert quick.planned_runs(alone, arms=9) == quick.runs
    held_out = {"further": [{}], "held_out": [{"tested": True}, {"tested": False}]}
    tested = sum(quick.final[role] for role in ("champion", "control", "without-ideas"))
    assert quick.planned_runs(held_out, 9) == 2 * quick.runs + tested + 2 * quick.shown_runs


@pytest.mark.parametrize(
    ("count", "researcher"),
    [(2, ()), (20, ()), (1, ("--set", "agent=cat")), (0, ("--set", "agent=cat"))],
)
def test_plan_counts_the_programs_that_the_opening_race_enters(
    tmp_path: Path, count: int, researcher: tuple[str, ...]
) -> None:
    files = [tmp_path / f"p{number}.md" for number in range(count)]
    for number, file in enumerate(files):
        file.write_text(f"---\nmetaloop:\n  wave: {number + 2}\n---\n# P{number}\n\nChange one thing.\n")
    planned = metaloop("evolve", *files, "--set", "knowledge=none", *researcher, "--dry-run", "--json").json
    own = [Program.parse(file.read_text(), file.stem) for file in files]
    racing = starters(size.DEFAULT.starters, own)
    entered, _ = entries(racing, Novelty([STROKES], "command" if researcher else "scripted"))
    assert planned["plan"]["starters"] == len(entered)
    assert planned["stages"][0]["programs"] == f"{len(entered)}, and stock (A/A)"
