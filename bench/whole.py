"""Whole studies of a simulated task in this process: the outer loop's own code, with nothing written that is not read.

What is left out: worker processes, git repositories of runs and programs, fsync where the folder lies in memory, the
champion's pages. What stays: starters, races, ledger, evidence, mutators, archive, confirmation and its one test.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from analysis.verdict.claim import Champion, Claim
from arena.study.study import Study
from arena.work.executor import Progress
from arena.work.executors.in_process import InProcessExecutor
from bench.common import TRIED
from meta.evolve import search
from meta.expected_gain import refusal_by_gain
from meta.kinds import size
from meta.kinds.contract import plan_of
from meta.kinds.new_configs import evolve_config, night_config
from meta.kinds.past_study import PastStudy
from meta.kinds.plans import EvolvePlan, NightPlan
from meta.kinds.play_study import play_evolution, play_night
from meta.learnt import Learnt
from meta.mutators.llm.author import Author
from meta.population import starters, taking_turns
from programs.program import Program
from trainer.task import Task

EXPERIMENTS = 16  # of a run on a simulated task
LAWS = 20  # simulated tasks that studies are spread over
_IN_MEMORY = Path("/dev/shm")


def resized(plan: EvolvePlan, **numbers: Any) -> EvolvePlan:
    """The plan with other numbers: those of a race by its field (``opening_more=2``), those of ``final`` by a mapping
    from roles to runs, of which 0 leaves a role out."""
    sizes = plan.model_dump()
    for name, number in numbers.items():
        race, _, field = name.partition("_")
        if race in ("opening", "generation"):
            sizes[race][field] = number
        elif name == "final":
            sizes["final"] = {role: runs for role, runs in {**sizes["final"], **number}.items() if runs}
        else:
            sizes[name] = number
    return EvolvePlan.model_validate(sizes)


QUICK = resized(size.QUICK, shown_runs=0, harvest_percent=0, final={"learnt": 0, "one-line": 0})
#: The plan quick; where a command is only tried, one with as many parts and as few runs as there can be.
PLAN = QUICK if not TRIED else resized(
    QUICK, opening_runs=2, opening_more=2, generations=1, children=2, elites=1, generation_runs=2, generation_keep=1,
    generation_more=2, final={"champion": 3, "control": 3, "without-ideas": 2, "a/a": 2},
)  # fmt: skip


def silent(_: Mapping[str, Any]) -> None:
    """A progress that nobody watches."""


def begin_study(
    folder: Path,
    task: Task,
    plan: EvolvePlan,
    *,
    programs: Sequence[Program] = (),
    past: PastStudy | None = None,
    learnt: Learnt | None = None,
    **settings: Any,
) -> Study:
    """A new study in this folder; ``programs``: the user's, of which a single one is improved; ``settings``: others of
    `evolve_config`."""
    own = programs[0] if len(programs) == 1 else None
    apart = [learnt.program] if learnt and "learnt" in plan.final else []
    taught = learnt.program if learnt and not apart else None
    chosen = starters(plan.starters, programs, taught, past.champion if past else None)
    settings = {"workers": 1, "confirm_seeds": None} | settings
    config = evolve_config(plan, [*chosen, *apart], task=task, own=own, past=past, learnt=learnt, **settings)
    return Study.create(folder, config)


def begin_night(folder: Path, task: Task, budget: float, own: Program, **settings: Any) -> Study:
    """A new night to improve a program, for a ``budget`` in device-seconds."""
    run_budget, seeds = size.night_size(budget, task)
    turns = taking_turns(own, None, task, "scripted")
    config = night_config(turns, task=task, run_budget=run_budget, fresh_seeds=seeds, own=own, workers=1, **settings)
    return Study.create(folder, config)


def evolve_plan(study: Study) -> EvolvePlan:
    """The plan of a study that is known to be an evolution."""
    plan = plan_of(study.config)
    assert isinstance(plan, EvolvePlan)
    return plan


def play_study(study: Study, progress: Progress = silent) -> Champion:
    """The champion of an evolution or a night, from wherever it stopped."""
    plan = plan_of(study.config)
    if isinstance(plan, NightPlan):
        return play_night(study, plan, progress)
    return play_evolution(study, evolve_plan(study), progress)


def search_here(study: Study, progress: Progress = silent) -> tuple[Program, Claim]:
    """Champion and claim of an evolution, from wherever it stopped, played in this process."""
    plan = evolve_plan(study)
    writers, worth = Author(study, plan.children, progress).writers, refusal_by_gain(study)
    with study, InProcessExecutor(study, progress) as executor:
        return search(study, plan, executor, progress, writers=writers, worth=worth)


def whole_study(
    task: Task,
    plan: EvolvePlan,
    seed: int,
    folder: Path | None = None,
    progress: Progress = silent,
    run_budget: float | None = None,
    further: Sequence[Task] = (),
) -> tuple[Program, Claim]:
    """Champion and claim of one study of a simulated task, or of several with ``further``; ``folder`` keeps it, else it
    lies in memory and goes.

    The same seed gives the same study, and one that was stopped goes on in its ``folder``. ``run_budget`` in
    device-seconds (default: of 16 experiments). Raises UsageError for a task that trains for real, Drained where the
    study was asked to stop.
    """
    if folder is None:
        memory = _IN_MEMORY if _IN_MEMORY.is_dir() else None
        with tempfile.TemporaryDirectory(prefix="metaloop-simulated-", dir=memory) as name:
            return whole_study(task, plan, seed, Path(name) / "study", progress, run_budget, further)
    if (folder / "study.toml").is_file():
        study = Study.open(folder)
        study.agree()
    else:
        budget = run_budget or EXPERIMENTS * task.cost_seconds
        study = begin_study(folder, task, plan, run_budget=budget, seed=seed, further=further)
    return search_here(study, progress)
