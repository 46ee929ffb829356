"""Studies that evolve programs, carried out whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from meta.begin import create
from meta.claim import Champion
from meta.evolve import evolve
from meta.plan import Plan
from tests.studies import silent
from trainer.task import Task


def evolved(folder: Path, task: Task, plan: Plan, *, workers: int = 1, **settings: Any) -> Champion:
    """The champion of a study that is founded in this folder."""
    study, starters = create(folder, task=task, plan=plan, workers=workers, **settings)
    return evolve(study, plan, starters, silent)
