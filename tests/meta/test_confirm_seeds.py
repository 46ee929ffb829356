"""The seeds that verify the runs behind a claim."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from analysis.study import query
from meta.begin import create
from meta.evolve import evolve
from meta.plan import default, quick
from tests.studies import TINY, silent
from trainer.planted import random_law, simulated_task
from trainer.task import Task

PLAN = replace(
    TINY, run_budget=0.6, starters=2, opening_more=2, generations=0, confirm_runs=2, ablation_runs=0, control_runs=0,
    confirm_seeds=4,
)  # fmt: skip


def test_the_runs_behind_a_claim_are_verified_with_more_seeds(tmp_path: Path) -> None:
    task = Task.load(simulated_task(random_law(2), tmp_path / "task", experiments=6))
    study, starters = create(tmp_path / "study", task=task, plan=PLAN, workers=1, seed=4)
    evolve(study, PLAN, starters, silent)
    seeds = "SELECT stream, min(verified_seeds) AS low, max(verified_seeds) AS high FROM runs GROUP BY 1"
    found = {row["stream"]: (row["low"], row["high"]) for row in query(tmp_path / "study", seeds)}
    assert found == {"selection": (2, 2), "confirmation": (4, 4)}
    assert "with\n4 seeds" in (tmp_path / "study" / "champion.evidence.md").read_text()


def test_the_plan_counts_what_it_costs() -> None:
    task = Task.load("strokes")
    for plan in (quick(task), default(task)):
        assert plan.confirm_seeds == 4
        few = replace(plan, confirm_seeds=0)
        more_trainings = 2 * plan.final_runs * task.cost_seconds
        assert plan.device_seconds(task) == pytest.approx(few.device_seconds(task) + more_trainings)
