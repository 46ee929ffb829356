"""Sizes of studies: what a plan costs, and the largest that fits a budget."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import pytest

from meta.kinds import plan as plans
from meta.novelty import Novelty
from meta.population import entries, starters
from meta.ui.status import planned_runs
from programs.errors import UsageError
from programs.program import Program
from tests.studies import TINY
from trainer.task import Task

from .cli_study import cli, metaloop

STROKES = Task.load("strokes")


def test_runs_are_counted_part_by_part() -> None:
    # opening 3 x 2, its best two one more each, A/A 2; one generation of 2 + 1 programs x 2, the best one more
    plan = replace(TINY, children=2)
    assert plan.search_runs == 6 + 2 + 2 + 6 + 1
    assert plan.runs == plan.search_runs + 2 * 3 + 2 + 2  # champion and stock, without ideas, A/A


def test_the_device_time_holds_runs_verifications_and_baselines() -> None:
    expected = TINY.runs * TINY.run_budget + (TINY.runs * 2 + 2 * 8) * STROKES.cost_seconds
    assert TINY.device_seconds(STROKES) == pytest.approx(expected)


def test_the_seeds_that_verify_a_claim_are_counted() -> None:
    for plan in (plans.quick(STROKES), plans.default(STROKES)):
        assert plan.confirm_seeds == 4
        more = plan.device_seconds(STROKES) - replace(plan, confirm_seeds=0).device_seconds(STROKES)
        assert more == pytest.approx(2 * plan.final_runs * STROKES.cost_seconds)


@pytest.mark.parametrize("budget", [200.0, 300.0, 700.0, 2000.0])
def test_a_plan_within_a_budget_fits_it_and_wastes_little(budget: float) -> None:
    plan = plans.within(budget, STROKES)
    assert plan.device_seconds(STROKES) <= budget
    assert plan.device_seconds(STROKES) >= 0.75 * budget


def test_a_larger_budget_never_buys_fewer_runs() -> None:
    runs = [plans.within(budget, STROKES).runs for budget in range(200, 1500, 50)]
    assert runs == sorted(runs)


def test_a_budget_that_buys_nothing_is_refused_with_the_price() -> None:
    with pytest.raises(UsageError, match="smallest study on strokes takes about"):
        plans.within(5.0, STROKES)


@pytest.mark.parametrize(
    ("words", "numbers"),
    [
        ("", {}),
        ("--set generations=6", {"generations": 6}),
        ("--seeds 8", {"child_runs": 8}),
        ("--set generations=5 --seeds 6 --set harvest=40", {"generations": 5, "harvest_percent": 40}),
    ],
)
def test_no_flag_puts_a_plan_above_its_budget(words: str, numbers: dict[str, int]) -> None:
    budget = plans.within(1e6, STROKES).device_seconds(STROKES) / 2
    done = cli("evolve", "-t", "strokes", "--budget", f"{budget:.0f}s", *words.split(), "--dry-run", "--json")
    planned = done.json
    assert planned["device_seconds"] <= budget
    assert numbers.items() <= planned["plan"].items()


def test_flags_that_do_not_fit_their_budget_are_refused() -> None:
    done = metaloop("evolve", "-t", "strokes", "--budget", "8m", "--seeds", "90", "--dry-run", code=2)
    assert "a budget of 480 s is too small" in done.stderr and "--seeds" in done.stderr


def test_flags_change_single_numbers() -> None:
    whole = plans.default(STROKES)
    assert plans.override(whole, generations=1, children=None) == replace(whole, generations=1)
    assert plans.quick(STROKES, 9.0).run_budget == 9.0 and plans.scaled(whole, 1.0) == whole


def test_the_planned_runs_are_those_of_all_tasks() -> None:
    evolve = {"command": "evolve", "plan": asdict(plans.QUICK)}
    held_out = (2 + plans.QUICK.own_arm) * plans.QUICK.confirm_runs + plans.QUICK.ablation_runs
    assert planned_runs(evolve, arms=9) == plans.QUICK.runs == 90
    assert planned_runs({**evolve, "further": [{}], "reserve": [{}]}, 9) == 180 + held_out
    assert planned_runs({"command": "match", "plan": {"seeds": 3}}, arms=4) == 12
    assert planned_runs({"command": "ablate"}, 4) is None


MISCOUNTED = pytest.mark.xfail(
    strict=True, reason="issue 74: the plan of an evolution counts the programs that its race enters"
)


@pytest.mark.parametrize(
    ("count", "researcher"),
    [
        pytest.param(2, (), marks=MISCOUNTED),
        pytest.param(20, (), marks=MISCOUNTED),
        pytest.param(1, ("--set", "agent=cat"), marks=MISCOUNTED),
        (0, ("--set", "agent=cat")),
    ],
)
def test_plan_counts_the_programs_that_the_opening_race_enters(
    tmp_path: Path, count: int, researcher: tuple[str, ...]
) -> None:
    files = [tmp_path / f"p{number}.md" for number in range(count)]
    for number, file in enumerate(files):
        file.write_text(f"---\nmetaloop:\n  wave: {number + 2}\n---\n# P{number}\n\nChange one thing.\n")
    planned = metaloop("evolve", *files, *researcher, "--dry-run", "--json").json
    own = [Program.parse(file.read_text(), file.stem) for file in files]
    racing = starters(planned["plan"]["starters"], own)
    entered, _ = entries(racing, Novelty([STROKES], "command" if researcher else "scripted"))
    assert planned["stages"][0]["programs"] == f"{len(entered)}, and stock (A/A)"
