"""The champion with four times the run budget, and the seeds that verify the runs behind a claim."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from analysis import decision_text
from analysis.report import page
from analysis.same_spend import same_spend
from analysis.study import open_study, query
from meta.begin import create, take_up
from meta.cli.main import run
from meta.evolve import evolve
from meta.plan import LONG, default, quick
from meta.verdict import Champion
from programs.shelf import starter
from tests.studies import TINY, silent
from trainer.planted import random_law, simulated_task
from trainer.task import Task

PLAN = replace(
    TINY, run_budget=0.6, starters=2, opening_more=2, generations=0, confirm_runs=2, ablation_runs=0, control_runs=0,
    long_runs=3, confirm_seeds=4,
)  # fmt: skip


@pytest.fixture(scope="module")
def longer(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Champion]:
    folder = tmp_path_factory.mktemp("longer")
    task = Task.load(simulated_task(random_law(2), folder / "task", experiments=6))
    study, starters = create(folder / "study", task=task, plan=PLAN, workers=1, seed=4)
    return folder / "study", evolve(study, PLAN, starters, silent)


def test_champion_and_stock_run_with_four_times_the_budget(longer: tuple[Path, Champion]) -> None:
    folder, champion = longer
    runs = query(folder, "SELECT role, stream, run_seed, device_seconds_budget AS b FROM runs WHERE purpose = 'long'")
    assert sorted(row["role"] for row in runs) == ["champion"] * 3 + ["control"] * 3
    assert {row["b"] for row in runs} == {LONG * PLAN.run_budget} and {row["stream"] for row in runs} == {
        "confirmation"
    }
    others = {row["run_seed"] for row in query(folder, "SELECT run_seed FROM runs WHERE purpose <> 'long'")}
    assert not others & {row["run_seed"] for row in runs}
    experiments = (
        "SELECT count(*) / count(DISTINCT run_id) AS n FROM experiments JOIN runs USING (run_id) WHERE purpose"
    )
    [ours], [usual] = (query(folder, f"{experiments} {sign} 'long'") for sign in ("=", "<>"))
    assert ours["n"] > 3 * usual["n"]
    gains = {
        row["role"]: row["g"]
        for row in query(folder, "SELECT role, avg(verified_gain) AS g FROM runs WHERE purpose = 'long' GROUP BY 1")
    }
    said = champion.decision.longer
    assert said is not None and said.budgets == LONG and said.champion.n == said.against.gain.n == 3
    assert said.champion.mean == pytest.approx(gains["champion"]) and said.against.gain.mean == pytest.approx(
        gains["control"]
    )
    assert said.against.difference == pytest.approx(gains["champion"] - gains["control"])


def test_every_output_says_so_and_nothing_else_counts_these_runs(longer: tuple[Path, Champion]) -> None:
    folder, champion = longer
    [sentence] = [text for text in decision_text.notes(champion.decision) if "4 times the run budget" in text]
    assert sentence in (folder / "champion.evidence.md").read_text() and "(not tested, 3 runs each)" in sentence
    _, plan, _ = take_up(folder)
    assert plan == PLAN
    with open_study(folder) as con:
        assert "4 times the run budget" in page.report(con, str(folder))
        spent = same_spend(con, champion_task(folder), "u", starter("stock").program_id)
        without = query(folder, "SELECT sum(r.device_seconds_charged) AS s FROM runs AS r WHERE purpose <> 'long'")
        assert (
            spent is not None and spent.spent < 1.8 * without[0]["s"]
        )  # with the verifications, without the long runs
    assert champion.claim.champion.n == PLAN.confirm_runs


def champion_task(folder: Path) -> str:
    return str(query(folder, "SELECT task FROM matches LIMIT 1")[0]["task"])


def test_the_runs_behind_a_claim_are_verified_with_more_seeds(longer: tuple[Path, Champion]) -> None:
    seeds = "SELECT stream, min(verified_seeds) AS low, max(verified_seeds) AS high FROM runs GROUP BY 1"
    found = {row["stream"]: (row["low"], row["high"]) for row in query(longer[0], seeds)}
    assert found == {"selection": (2, 2), "confirmation": (4, 4)}
    assert "with\n4 seeds" in (longer[0] / "champion.evidence.md").read_text()


def test_the_plan_counts_what_it_costs() -> None:
    task = Task.load("strokes")
    for plan in (quick(task), default(task)):
        assert plan.confirm_seeds == 4 and not plan.long_runs
        few, more = replace(plan, confirm_seeds=0), replace(plan, long_runs=5)
        more_trainings = 2 * plan.final_runs * task.cost_seconds
        assert plan.device_seconds(task) == pytest.approx(few.device_seconds(task) + more_trainings)
        long_runs = 10 * (LONG * plan.run_budget + 4 * task.cost_seconds)
        assert more.device_seconds(task) == pytest.approx(plan.device_seconds(task) + long_runs)
        assert more.stock_runs(task) == plan.stock_runs(task)


def test_the_dry_run_names_it(capsys: pytest.CaptureFixture[str]) -> None:
    for size, runs in (("--quick", 6), ("--seeds=4", 10)):
        assert run(["evolve", size, "--long", "--dry-run", "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["plan"]["long_runs"] == runs
