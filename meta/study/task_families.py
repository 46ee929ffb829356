"""A study over families of tasks: each stage is played on new members of them, and none is used twice.

The opening race and every generation have ``family_tasks`` new tasks of each family, the confirmation
``family_confirm``, and so has, after it, each family that the search left out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import chain, islice

import numpy as np

from analysis.knowledge import family_of
from analysis.wording import listed, many
from arena.settings import Reserved, UsedFamilies
from arena.setup import BASELINE_SEEDS, RunCost, beside, reference
from meta.reserve import FIRST_UNSEEN, runs_on_reserved
from meta.study.cost import Work
from meta.study.plan import Plan
from programs.errors import UsageError
from trainer.streams import Streams
from trainer.task import Task
from trainer.variants import member

SIZES = {
    "quick": {"family_tasks": 2, "family_confirm": 6, "confirm_runs": 2, "opening_more": 2},
    "default": {"family_tasks": 3, "family_confirm": 12, "confirm_runs": 3, "opening_more": 4},
}
COMMON = {
    "opening_runs": 2, "aa_runs": 2, "child_runs": 2, "child_more": 4, "ablation_runs": 2, "control_runs": 2,
    "harvest_percent": 0, "variant_runs": 0,
}  # fmt: skip


SPARE = 8  # members beyond those that are needed, for those that do not train


@dataclass(frozen=True)
class Families:
    """First tasks of the families that a study searches on, and of those that it leaves out."""

    searched: Sequence[Task]
    left_out: Sequence[Task] = ()

    @property
    def all(self) -> list[Task]:
        return [*self.searched, *self.left_out]

    def check(self) -> None:
        """Raises UsageError for a task without a family, or a family that is named twice."""
        names = [family_of(task) for task in self.all]
        for task, name in zip(self.all, names, strict=True):
            if task.family is None:
                hint = "a family's task.toml has a section [family]: see docs/knowledge.md"
                raise UsageError(f"the task {task.name} has no family", hint=hint)
            if names.count(name) > 1:
                raise UsageError(f"the family {name} is named twice", hint="name each family once")


@dataclass(frozen=True)
class DrawnTasks:
    """The tasks of a study over families. ``opening``: of the opening race; ``fresh``: of the later stages."""

    families: UsedFamilies
    opening: list[Task]
    fresh: list[Reserved]
    reserve: list[Reserved]


def sized(plan: Plan, size: str) -> Plan:
    """The plan of a study over families: fewer runs on each task, on more tasks."""
    return replace(plan, **COMMON, **SIZES[size])


def draw(
    families: Families, plan: Plan, seed: int | None, trains: Callable[[Task], bool] = lambda _: True, at_once: int = 1
) -> DrawnTasks:
    """Members from ``FIRST_UNSEEN`` on whose untouched script ``trains``, each once; always the same with a seed.

    ``at_once``: members that are tried in parallel. Raises UsageError where too few of a family train.
    """
    streams = Streams.from_seed(seed) if seed is not None else Streams.fresh()
    rng = np.random.default_rng(streams.seed("search", "families", 0))
    counts = [plan.family_tasks] * (plan.generations + 1) + [plan.family_confirm]
    stages: list[list[Task]] = [[] for _ in counts]
    for family in families.searched:
        drawn = iter(_members(family, rng, sum(counts), trains, at_once))
        for tasks, count in zip(stages, counts, strict=True):
            tasks += islice(drawn, count)
    left_out = [
        task for family in families.left_out for task in _members(family, rng, plan.family_confirm, trains, at_once)
    ]
    members: dict[str, list[str]] = {}
    for task in chain(*stages, left_out):
        members.setdefault(family_of(task), []).append(task.task_id)
    searched, others = (list(map(reference, some)) for some in (families.searched, families.left_out))
    opening, *later = stages
    fresh = [
        one.model_copy(update={"stage": stage})
        for stage, tasks in enumerate(later, 1)
        for one in beside(opening[0], plan.run_budget, tasks)
    ]
    used = UsedFamilies(searched=searched, left_out=others, members=members)
    return DrawnTasks(used, opening, fresh, beside(opening[0], plan.run_budget, left_out))


def _members(
    family: Task, rng: np.random.Generator, count: int, trains: Callable[[Task], bool], at_once: int
) -> list[Task]:
    """The first ``count`` that train, of numbers in a random order."""
    numbers = rng.choice(10**6 - FIRST_UNSEEN, size=count + SPARE, replace=False)
    drawn: list[Task] = []
    with ThreadPoolExecutor(at_once) as pool:
        for start in range(0, len(numbers), count):
            tasks = [member(family, FIRST_UNSEEN + int(number)) for number in numbers[start : start + count]]
            drawn += [task for task, ok in zip(tasks, pool.map(trains, tasks), strict=True) if ok]
            if len(drawn) >= count:
                return drawn[:count]
    raise UsageError(
        f"of {len(numbers)} members of the family {family_of(family)} the untouched script of only {len(drawn)} trains",
        hint="leave the family out, or mend its values in [family.baseline]",
    )


def works(plan: Plan, families: Families) -> list[Work]:
    """What the search and the confirmation cost on new tasks of each family, and the end on those left out."""
    first, last = families.searched[0], plan.family_confirm
    cost, final_cost = RunCost(first, plan.run_budget), plan.final_cost(first)
    stock = plan.generations * plan.child_runs  # stock runs in every stage
    searched, confirmed = (plan.search_runs + stock) * plan.family_tasks, plan.final_runs * last
    trained = BASELINE_SEEDS * plan.family_tasks * (plan.generations + 1)
    seconds = cost.seconds(searched, trained) + final_cost.seconds(confirmed, BASELINE_SEEDS * last)
    final = runs_on_reserved(plan) * last
    made = [
        Work.of(cost.on(task), searched + confirmed, seconds * task.cost_seconds / first.cost_seconds)
        for task in families.searched
    ]
    for held_out in map(final_cost.on, families.left_out):
        made.append(Work.of(held_out, final, held_out.seconds(final, BASELINE_SEEDS * last), "held out"))
    return [replace(one, task=family_of(task)) for one, task in zip(made, families.all, strict=True)]


def said(plan: Plan, families: Families) -> str:
    each, last = many(plan.family_tasks, "new task"), many(plan.family_confirm, "new task")
    text = f"{listed(map(family_of, families.searched))}: {each} of each in every stage, {last} to confirm on"
    return text + (f"; at the end {last} of {listed(map(family_of, families.left_out))}" if families.left_out else "")
