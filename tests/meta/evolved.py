"""Studies that evolve programs, carried out whole."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from analysis.ledger import read
from meta.claim import Champion
from meta.evolve import evolve
from meta.kinds.begin import create, take_up
from meta.kinds.plan import Plan
from tests.studies import silent
from trainer.task import Task

Ended = tuple[Path, Champion]


def evolved(folder: Path, task: Task, plan: Plan, *, workers: int = 1, **settings: Any) -> Champion:
    """The champion of a study that is founded in this folder."""
    study, starters = create(folder, task=task, plan=plan, workers=workers, **settings)
    return evolve(study, plan, starters, silent)


def taken_up_again(ended: Ended, folder: Path) -> Path:
    """A copy of a study that has ended and was taken up again: the same champion, and no event more."""
    shutil.copytree(ended[0], folder, symlinks=True)
    before = [event for event in read(folder / "ledger") if event["kind"] != "segment"]
    assert evolve(*take_up(folder), silent) == ended[1]
    assert [event for event in read(folder / "ledger") if event["kind"] != "segment"] == before
    return folder
