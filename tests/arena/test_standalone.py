"""A match on its own that races: fewer runs than its bill, and the same ones however often it is cut off."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from analysis.study import query
from arena.arms import Entry, enter
from arena.match import play
from arena.standalone import RACE_FIRST, racer
from arena.study.study import Study
from arena.study.task_study import TaskStudy
from arena.work.executors.in_process import InProcessExecutor
from bench.simulated_tasks import random_law, simulated_task
from programs.shelf import starter
from tests.studies import silent, study_on
from trainer.task import Task

NAMES = ("stock", "idea-queue", "local-screen", "confirm-last")
RUNS, BATCH = 6, 3
COUNTS = "SELECT role, name, count(*) AS runs FROM runs WHERE state = 'finished' GROUP BY ALL ORDER BY ALL"


def raced(study: Study, progress: Any = silent) -> list[dict[str, Any]]:
    entries = [Entry(starter(name), "control" if name == "stock" else "program") for name in NAMES]
    with study, InProcessExecutor(study, progress) as executor:
        for entry in entries:
            study.admit(entry.program, generation=0, operator="entry")
        match = enter(
            TaskStudy(study), "match", [*entries, Entry(starter("stock"), "a/a")], purpose="race", stream="selection"
        )
        play(TaskStudy(study), executor, match, racer(study, match, RUNS, BATCH), progress)
    return query(study.folder, COUNTS)


@pytest.fixture
def task(tmp_path: Path) -> Task:
    return Task.load(simulated_task(random_law(3), tmp_path / "task", experiments=6))


def test_race_spends_its_bill_and_the_twin_gets_the_first_runs(tmp_path: Path, task: Task) -> None:
    counts = {(row["role"], row["name"]): row["runs"] for row in raced(study_on(tmp_path / "s", task, seed=3))}
    assert counts.pop(("a/a", "stock")) == RACE_FIRST
    assert sum(counts.values()) <= RUNS * len(NAMES) and min(counts.values()) >= RACE_FIRST
    assert len(set(counts.values())) > 1
