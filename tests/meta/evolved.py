"""Studies that evolve programs, carried out whole."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from analysis.ledger import read
from arena.study import Study
from meta.claim import Champion
from meta.kinds.begin import evolve_config
from meta.kinds.past_study import PastStudy
from meta.kinds.contract import plan_of
from meta.kinds.plans import EvolvePlan, NightPlan
from meta.kinds.playing import play_evolution, play_night
from meta.learnt import Learnt
from meta.population import starters
from programs.program import Program
from tests.studies import RUN_BUDGET, silent
from trainer.task import Task

Ended = tuple[Path, Champion]
SHORT = 0.8  # run budget of four experiments of a tiny task


def begun(
    folder: Path,
    task: Task,
    plan: EvolvePlan,
    *,
    programs: Sequence[Program] = (),
    past: PastStudy | None = None,
    learnt: Learnt | None = None,
    **settings: Any,
) -> Study:
    """A new study in this folder; ``programs``: the user's. One is improved."""
    own = programs[0] if len(programs) == 1 else None
    apart = [learnt.program] if learnt and "learnt" in plan.final else []
    taught = learnt.program if learnt and not apart else None
    chosen = starters(plan.starters, programs, taught, past.champion if past else None)
    more = {"run_budget": RUN_BUDGET, "workers": 1, "confirm_seeds": None} | settings
    config = evolve_config(plan, [*chosen, *apart], task=task, own=own, past=past, learnt=learnt, **more)
    return Study.create(folder, config)


def evolved(folder: Path, task: Task, plan: EvolvePlan, **settings: Any) -> Champion:
    """The champion of a study that is begun in this folder."""
    return play(begun(folder, task, plan, **settings))


def play(study: Study) -> Champion:
    """The champion of an evolution or a night, from wherever it stopped."""
    plan = plan_of(study.config)
    if isinstance(plan, NightPlan):
        return play_night(study, plan, silent)
    return play_evolution(study, evolve_plan(study), silent)


def evolve_plan(study: Study) -> EvolvePlan:
    plan = plan_of(study.config)
    assert isinstance(plan, EvolvePlan)
    return plan


def taken_up_again(ended: Ended, folder: Path) -> Path:
    """A copy of a study that has ended and was taken up again: the same champion, and no event more."""
    shutil.copytree(ended[0], folder, symlinks=True)
    before = [event for event in read(folder / "ledger") if event["kind"] != "segment"]
    assert play(Study.open(folder)) == ended[1]
    assert [event for event in read(folder / "ledger") if event["kind"] != "segment"] == before
    return folder
