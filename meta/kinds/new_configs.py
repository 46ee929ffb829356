"""The settings of a new study of evolution or of a night, before it is on disk."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from arena.study.settings import StudyConfig
from arena.study.setup import CONFIRM_SEEDS, StudySetup, beside, held_out_tasks
from inner_loop.run_context import ModelConfig
from meta.kinds.past_study import PastStudy
from meta.kinds.plans import EvolvePlan, NightPlan, Plan
from meta.learnt import Learnt
from meta.mutators.mix import MUTATORS, named_operators
from programs import shelf
from programs.program import Program
from trainer.task import Task


def evolve_config(
    plan: EvolvePlan, programs: Sequence[Program], *, task: Task, run_budget: float | None = None,
    further: Sequence[Task] = (), held_out: Sequence[Task] = (), shown: Task | None = None,
    own: Program | None = None, path: str | None = None, **settings: Any,
) -> StudyConfig:  # fmt: skip
    """A new study that begins with ``programs`` (`meta.population.starters`) and improves ``own``, where it is one.

    ``run_budget`` in device-seconds (default: the task's). ``further``: tasks beside ``task`` that every match is also
    played on; ``held_out``: tasks on which the champion is tested; ``shown``: one on which it only runs. ``path``: file
    of ``own``. ``settings``: others of `new_config`.
    """
    operators = [*MUTATORS.names] if MUTATORS.added else []
    named_operators(operators)  # refused before anything is spent
    origin = own.program_id if own else None
    plan = plan.model_copy(update={"origin": origin, "path": path if own else None, "operators": operators})
    budget = run_budget or task.run_budget
    return new_config(
        "evolve",
        task,
        budget,
        plan,
        programs,
        further=beside(task, budget, further),
        held_out=[
            *held_out_tasks(task, budget, held_out, tested=True),
            *held_out_tasks(task, budget, [shown] if shown else [], tested=False),
        ],
        **settings,
    )


def night_config(
    turns: Sequence[Program], *, task: Task, run_budget: float, fresh_seeds: int, own: Program,
    path: str | None = None, past: PastStudy | None = None, ablation_seconds: float | None = None, **settings: Any,
) -> StudyConfig:  # fmt: skip
    """A new night of the programs that take ``turns`` (`meta.population.taking_turns`), to improve ``own``.

    ``run_budget``: device-seconds of its one run; ``fresh_seeds``: with which its main, and the untouched files, are
    trained at the end; ``ablation_seconds``: to train main without each of its changes. It goes on from the main of
    ``past``. ``settings``: others of `new_config`.
    """
    plan = NightPlan(
        turns=[program.program_id for program in turns],
        origin=own.program_id,
        path=path,
        main_seconds=past.main_seconds if past and past.main_seconds else None,
        ablation_seconds=ablation_seconds,
    )
    return new_config(
        "night",
        task,
        run_budget,
        plan,
        list(dict.fromkeys([own, *turns])),
        past,
        confirm_seeds=fresh_seeds,
        baseline_seeds=fresh_seeds,
        start=past.main if past else (),
        **settings,
    )


def new_config(
    kind: str, task: Task, run_budget: float, plan: Plan, programs: Sequence[Program], past: PastStudy | None = None,
    *, learnt: Learnt | None = None, confirm_seeds: int | None = CONFIRM_SEEDS,
    model_config: ModelConfig | None = None, meta_program: Program | None = None, **settings: Any,
) -> StudyConfig:  # fmt: skip
    """``past``: the study whose champion is a starter; ``learnt``: a starter with ideas from measured tasks.
    ``meta_program`` instructs the models of ``model_config`` when they write programs (default: the library's).
    ``settings``: others of `StudySetup`."""
    if model_config and model_config.models:
        meta_program = meta_program or shelf.meta_program()
    setup = StudySetup(
        kind,
        task,
        run_budget,
        plan=plan.table(),
        programs=programs,
        confirm_seeds=confirm_seeds,
        model_config=model_config,
        meta_program=(meta_program.name, meta_program.text) if meta_program else None,
        from_study=past.used if past else None,
        held_secret=past.held_secret if past else "",
        knowledge=learnt.used if learnt and learnt.program in programs else None,
        **settings,
    )
    return setup.config()
