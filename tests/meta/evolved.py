"""Studies that evolve programs, carried out whole."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from analysis.ledger import read
from analysis.verdict.claim import Champion
from arena.study.study import Study
from bench.whole import begin_study, play_study
from meta.kinds.plans import EvolvePlan
from trainer.task import Task

Ended = tuple[Path, Champion]
SHORT = 0.8  # run budget of four experiments of a tiny task, in device-seconds


def evolved(folder: Path, task: Task, plan: EvolvePlan, **settings: Any) -> Champion:
    """The champion of a study that is begun in this folder (`bench.whole.begin_study`) with short runs."""
    return play_study(begin_study(folder, task, plan, **{"run_budget": SHORT} | settings))


def taken_up_again(ended: Ended, folder: Path) -> Path:
    """A copy of a study that has ended and was taken up again: the same champion, and no event more."""
    shutil.copytree(ended[0], folder, symlinks=True)
    before = [event for event in read(folder / "ledger") if event["kind"] != "segment"]
    assert play_study(Study.open(folder)) == ended[1]
    assert [event for event in read(folder / "ledger") if event["kind"] != "segment"] == before
    return folder
