"""Small studies for tests: the tiny task in fixed-step mode, so that everything is real and bit-reproducible."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from analysis.study import open_study
from analysis.views.tables import rows
from arena.study.setup import StudySetup
from arena.study.study import Study
from bench.simulated_tasks import random_law, simulated_task
from meta.kinds.plans import EvolvePlan, Race
from programs.program import Program
from tests.inner_loop.play import BLOBS
from trainer.task import Task
from trainer.variants import task_name

RUN_BUDGET = 1.2  # six full experiments of 0.2 nominal seconds
TINY = EvolvePlan(
    starters=3, opening=Race(runs=2, keep=2, more=3), generations=1, children=1, elites=1,
    generation=Race(runs=2, keep=1, more=3), final={"champion": 3, "control": 3, "without-ideas": 2, "a/a": 2},
)  # fmt: skip


class Snapshot:
    """A study that has ended: its tables are made once, not once a query."""

    def __init__(self, folder: Path) -> None:
        self.con = open_study(folder)

    def __call__(self, sql: str) -> list[dict[str, Any]]:
        return rows(self.con.execute(sql))


def silent(_: Mapping[str, Any]) -> None:
    """A progress that nobody watches."""


def make_study(
    folder: Path, *, workers: int = 1, seed: int = 1, fixed_steps: bool = True, devices: int = 1
) -> Study:  # fmt: skip
    more = {"workers": workers, "seed": seed, "fixed_steps": fixed_steps, "devices": devices}
    return study_on(folder, Task.load(BLOBS), RUN_BUDGET, **more)


def study_on(folder: Path, task: Task, run_budget: float | None = None, **more: Any) -> Study:
    """A study on a task; without a budget, of the task's own for a run."""
    setup: dict[str, Any] = {"kind": "match", "workers": 1, "seed": 1} | more
    return Study.create(folder, StudySetup(task=task, run_budget=run_budget or task.run_budget, **setup).config())


def planted(folder: Path, seed: int = 2, *, name: str = "planted", experiments: int = 8) -> Task:
    """A simulated task of the law of this seed."""
    return Task.load(simulated_task(random_law(seed), folder, name=name, experiments=experiments))


def drawn_law(folder: Path, seed: int) -> Path:
    """The folder of a simulated task of the law of this seed, with as many experiments in a run as by default."""
    return simulated_task(random_law(seed), folder, name=task_name(folder))


def program(name: str, charter: str = "", ideas: tuple[str, ...] = ()) -> Program:
    front = f"---\nmetaloop:\n{charter}---\n" if charter else ""
    listed = "\n## Ideas\n\n" + "".join(f"- {idea}\n" for idea in ideas) if ideas else ""
    return Program.parse(f"{front}# {name}\n\nLower the loss.\n{listed}", name)
