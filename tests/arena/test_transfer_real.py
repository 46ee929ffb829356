"""The same programs on strokes and on a second task, both trained for real."""

from __future__ import annotations

from pathlib import Path

import pytest

from analysis.study import open_study, query
from analysis.transfer import transfer, transfer_runs
from analysis.transfer_credit import across
from arena.settings import Reserved
from arena.setup import StudySetup, reference
from arena.study import Study
from arena.transfer import play_transfer
from programs.shelf import starter
from tests.inner_loop.play import BLOBS
from tests.studies import silent
from trainer.task import Task

EXPERIMENTS = 4


@pytest.mark.slow
def test_two_real_tasks_share_one_study(tmp_path: Path) -> None:
    home, other = Task.load("strokes"), Task.load(BLOBS)
    costs = {task.name: task.steps * task.seconds_per_step for task in (home, other)}
    further = [Reserved(task=reference(other), task_id=other.task_id, run_budget=EXPERIMENTS * costs[other.name])]
    study = Study.create(
        tmp_path / "study",
        StudySetup(
            task=home,
            run_budget=EXPERIMENTS * costs[home.name],
            command="transfer",
            workers=1,
            seed=1,
            fixed_steps=True,
            further=further,
        ),
    )
    play_transfer(study, (starter("local"),), 2, True, silent)
    with open_study(study.folder, views=()) as con:
        told = transfer(con)
        apart = across(con, told.tasks, told.cells, transfer_runs(con))
    assert told.tasks.training == ("strokes",) and told.tasks.other == (other.name,)
    assert {(c.task, c.name, c.role) for c in told.cells} == {
        (task, name, role) for task in ("strokes", other.name)
        for name, role in (("local", "program"), ("stock", "control"), ("stock", "a/a"))
    }  # fmt: skip
    assert all(cell.n == 2 for cell in told.cells)
    assert {"lr", "activation"} <= {row.key.partition("=")[0] for row in apart}  # the latter's values are words
    metrics = query(study.folder, "SELECT task, count(DISTINCT metric) AS n FROM baselines GROUP BY 1 ORDER BY 1")
    assert {row["task"]: row["n"] for row in metrics} == {"strokes": 8, other.name: 8}
