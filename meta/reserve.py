"""Held-out tasks: the champion runs once, at the end, on tasks that the evolution never used.

The champion, stock, and the champion without its ideas run from the held-out task's own baseline on the stream
`reserve`. To keep the study's error rate, these tests count only if the main claim holds, and are corrected by Holm.

A study on a task that has a family draws a held-out task from it by itself: champion and stock run there, too, and
nothing is tested.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace

import numpy as np

from analysis.statistics import holm
from analysis.verdict.decision import HeldOut
from arena.executor import Executor, Progress
from arena.study import Study
from arena.task_set import TaskSet
from arena.task_study import reserved_tasks
from meta.claim import LEVEL, Claim, held_out
from meta.confirmation import arms, play_final
from meta.kinds.cost import Work
from meta.kinds.plan import Plan
from meta.lineage import Lineage
from meta.novelty import differ
from programs.errors import UsageError
from programs.program import Program
from programs.shelf import starter
from trainer.streams import Streams
from trainer.task import Task
from trainer.variants import member

DRAWN = "drawn"
FIRST_UNSEEN = 1000  # members below it may have been used for what Metaloop comes with
TRIED = 8  # members of which one must train
At = Callable[[TaskSet], AbstractContextManager[Executor]]  # the executor for a held-out task


def refuse_twice(training: Sequence[Task], others: Sequence[Task] = ()) -> None:
    """Raises UsageError where a task of the search is also reserved, or any task is named twice."""
    names = [task.name for task in (*training, *others)]
    for at, name in enumerate(names):
        if name in names[:at]:
            raise UsageError(f"the task {name} is named twice", hint="--task and --reserve name each task once")


def unseen_variant(
    home: Task, seed: int | None, trains: Callable[[Task], bool] = lambda _: True, named: Sequence[Task] = ()
) -> Task | None:
    """A member of the home task's family that nothing was learnt from, and none of those ``named`` for the study: other
    data, and another untouched script.

    None where the task has no family, or where none of several members ``trains``. With a seed it is always the same,
    else it is drawn. All members cost the same.
    """
    if home.family is None:
        return None
    drawn = Streams.from_seed(seed) if seed is not None else Streams.fresh()
    numbers = np.random.default_rng(drawn.seed("search", "variant", 0)).integers(FIRST_UNSEEN, 10**6, TRIED)
    members = (member(home, int(number)) for number in numbers)
    taken = {task.task_id for task in named}
    return next((task for task in members if task.task_id not in taken and trains(task)), None)


def runs_on_reserved(plan: Plan) -> int:
    """Runs on one held-out task, at most."""
    return (2 + plan.own_arm) * plan.confirm_runs + plan.ablation_runs


def runs_on_variant(plan: Plan) -> int:
    return (2 + plan.own_arm) * plan.variant_runs


def works_on_reserved(plan: Plan, first: Task, reserved: Sequence[Task], variant: Task | None = None) -> list[Work]:
    """What the held-out tasks cost at most."""
    cost = plan.final_cost(first)
    works = [Work.of(cost.on(task), runs_on_reserved(plan), use="held out") for task in reserved]
    if variant and plan.variant_runs:
        works.append(Work.of(cost.on(variant), runs_on_variant(plan), use=DRAWN))
    return works


def confirm_on_reserved(
    study: Study, at: At, lineage: Lineage, champion: Program, home: Claim, plan: Plan, progress: Progress
) -> list[HeldOut]:
    """Run the champion on every held-out task, one after the other, the drawn one last."""
    tested, drawn = list[tuple[Task, Claim | None]](), list[HeldOut]()
    unseen = {each.task_id for each in study.config.reserve if each.variant}
    for each in reserved_tasks(study):
        on, task, there = TaskSet((each,)), each.task, None
        if differ(on, champion, starter("stock")):
            entered, final = arms(on, champion, plan), plan
            if task.task_id in unseen:
                final = replace(plan, confirm_runs=plan.variant_runs)
                entered = [entry for entry in entered if entry.role != "without-ideas"]
            with at(on) as executor:
                there = play_final(on, executor, lineage, entered, final, f"reserve-{task.name}", "reserve", progress)
        else:
            progress({"kind": "note", "text": f"{champion.name} behaves like stock on {task.name}: not run there"})
        if task.task_id in unseen:
            drawn.append(held_out(task.name, task.unit, there, None, False, variant=True))
        else:
            tested.append((task, there))
    return gated(tested, home) + drawn


def gated(claims: Sequence[tuple[Task, Claim | None]], home: Claim) -> list[HeldOut]:
    """The results with their corrected p: they count only if the main claim holds, after Holm over the tested tasks."""
    adjusted = iter(holm([there.p for _, there in claims if there is not None]))
    results = []
    for task, there in claims:
        p = next(adjusted) if there is not None else None
        holds = p is not None and home.holds and p < LEVEL
        results.append(held_out(task.name, task.unit, there, p, holds))
    return results
