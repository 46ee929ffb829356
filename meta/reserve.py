"""Held-out tasks: the champion runs once, at the end, on tasks that the evolution never used.

The champion, stock, and the champion without its ideas run from the held-out task's own baseline on the stream
`reserve`. To keep the study's error rate, the tests count only if the main claim holds, and are corrected by Holm.

A study on a task that has a family adds a member of it by itself: champion and stock run there, too, and nothing is
tested.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from analysis.statistics import holm
from analysis.verdict.claim import Claim, named
from analysis.verdict.decision import LEVEL, HeldOut
from arena.study.study import Study
from arena.study.task_set import TaskSet
from arena.study.task_study import held_out_tasks
from arena.work.executor import Progress
from arena.work.executors import executor_of
from meta.confirmation import arms, play_final
from meta.kinds.plans import EvolvePlan
from meta.novelty import differ
from programs.common.errors import UsageError
from programs.program import Program
from programs.shelf import starter
from trainer.streams import Streams
from trainer.task import Task
from trainer.variants import member

FIRST_MEMBER = 1000  # members below it may have been used for what Metaloop comes with
TRIED = 8  # members of which one must train


def refuse_twice(training: Sequence[Task], others: Sequence[Task] = ()) -> None:
    """Raises UsageError where a task of the search is also held out, or any task is named twice."""
    names = [task.name for task in (*training, *others)]
    for number, name in enumerate(names):
        if name in names[:number]:
            raise UsageError(f"the task {name} is named twice", hint="--task and --reserve name each task once")


def family_member(
    first: Task, seed: int | None, trains: Callable[[Task], bool] = lambda _: True, others: Sequence[Task] = ()
) -> Task | None:
    """A member of the first task's family that nothing was learnt from, and none of the ``others`` of the study: other
    data, and another untouched script.

    None where the task has no family, or where none of several members ``trains``. With a seed it is always the same,
    else it is drawn. All members cost the same.
    """
    if first.family is None:
        return None
    streams = Streams.from_seed(seed) if seed is not None else Streams.fresh()
    numbers = np.random.default_rng(streams.seed("search", "variant", 0)).integers(FIRST_MEMBER, 10**6, TRIED)
    members = (member(first, int(number)) for number in numbers)
    taken = {task.task_id for task in others}
    return next((task for task in members if task.task_id not in taken and trains(task)), None)


def confirm_on_held_out(
    study: Study, champion: Program, main: Claim, plan: EvolvePlan, progress: Progress
) -> list[HeldOut]:
    """Run the champion on every held-out task, one after the other. ``main``: the study's claim."""
    results: list[HeldOut] = []
    for held_out, task_study in zip(study.config.held_out, held_out_tasks(study), strict=True):
        tasks, task, is_tested = TaskSet((task_study,)), task_study.task, held_out.tested
        if differ(tasks, champion, starter("stock")):
            runs, label = plan.held_out_final(is_tested), f"reserve-{task.name}"
            entries = [entry for entry in arms(tasks, champion, plan) if entry.role in runs]
            with executor_of(study, progress, tasks.studies) as executor:
                claim = play_final(tasks, executor, entries, runs, plan.generations, label, "reserve", progress)
            tested, p = named(claim.tested, "your program"), claim.p if is_tested else None
            results.append(HeldOut(task.name, task.unit, claim.champion, tested, p, False, is_tested))
        else:
            progress({"kind": "note", "text": f"{champion.name} behaves like stock on {task.name}: not run there"})
            results.append(HeldOut(task.name, task.unit, None, None, None, False, is_tested))
    return corrected(results, main)


def corrected(results: Sequence[HeldOut], main: Claim) -> list[HeldOut]:
    """The results with p after Holm over the tested tasks; a test counts only if the main claim holds."""
    adjusted = iter(holm([result.p for result in results if result.p is not None]))
    tested = [result if result.p is None else replace(result, p=next(adjusted)) for result in results]
    return [replace(result, holds=main.holds and result.p is not None and result.p < LEVEL) for result in tested]
