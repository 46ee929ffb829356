"""Studies that evolve programs, carried out whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from analysis.verdict.claim import Champion
from bench.whole import begin_study, play_study
from meta.kinds.plans import EvolvePlan
from trainer.task import Task

SHORT = 0.8  # run budget of four experiments of a tiny task, in device-seconds


def evolved(folder: Path, task: Task, plan: EvolvePlan, **settings: Any) -> Champion:
    """The champion of a study that is begun in this folder (`bench.whole.begin_study`) with short runs."""
    return play_study(begin_study(folder, task, plan, **{"run_budget": SHORT} | settings))
