"""The size of an evolution: quick, default, or what a device budget pays for; and the device time that it takes."""

from __future__ import annotations

import math
from collections.abc import Callable

from arena.study.setup import BASELINE_SEEDS, CONFIRM_SEEDS, RunCost
from meta.kinds.cost import Work
from meta.kinds.plans import EvolvePlan, Race, Role
from meta.kinds.study_tasks import StudyTasks
from programs.common.errors import UsageError
from trainer.task import Task

QUICK = EvolvePlan(
    starters=3, opening=Race(runs=3, keep=2, more=3), generations=2, children=3, elites=2,
    generation=Race(runs=3, keep=2, more=5), shown_runs=4, harvest_percent=3,
    final={"champion": 10, "control": 10, "without-ideas": 4, "a/a": 4, "one-line": 4, "start": 6, "learnt": 6},
)  # fmt: skip
DEFAULT = EvolvePlan(
    starters=10, opening=Race(runs=4, keep=4, more=8), generations=3, children=5, elites=2,
    generation=Race(runs=4, keep=2, more=8), shown_runs=10, harvest_percent=10,
    final={"champion": 20, "control": 20, "without-ideas": 12, "a/a": 4, "one-line": 4, "start": 12},
)  # fmt: skip
QUICK_EXPERIMENTS = 16  # of a run of a quick study
LEAST_EXPERIMENTS = 8  # of a night
#: (experiments of a night, fresh seeds with which main and the untouched script are trained below so many)
NIGHT_SEEDS = ((30, 2), (90, 3), (200, 4), (math.inf, 8))
POWERED_RUNS = 45  # of each program: 1.3 times as good is shown with 80% power, with an SD of half the gain
HELD_OUT, UNTESTED = "held out", "held out, untested"  # what the runs on a task are for
MOST = 400  # a budget buys at most this percentage of the default's runs

Sized = Callable[[EvolvePlan], EvolvePlan]


def device_seconds(plan: EvolvePlan, cost: RunCost, confirm_seeds: int = CONFIRM_SEEDS) -> float:
    """Expected device-seconds on one task: the runs, their verification, and the harvest. ``cost``: of a run there."""
    search, final = cost.seconds(plan.search_runs), final_cost(cost, confirm_seeds)
    harvest = plan.harvest_experiments(cost) * cost.task.cost_seconds
    return search + final.seconds(plan.final_runs, BASELINE_SEEDS) + harvest


def final_cost(cost: RunCost, confirm_seeds: int) -> RunCost:
    """Of runs that decide a claim."""
    return RunCost(cost.task, cost.run_budget, confirm_seeds)


def works(plan: EvolvePlan, tasks: StudyTasks, cost: RunCost, confirm_seeds: int = CONFIRM_SEEDS) -> list[Work]:
    """The runs on each task; they have as many experiments on each. ``cost``: of a run on the first one."""
    seconds, first = device_seconds(plan, cost, confirm_seeds), cost.task.cost_seconds
    searched = [Work.of(cost.on(task), plan.runs, seconds * task.cost_seconds / first) for task in tasks.training]
    final = final_cost(cost, confirm_seeds)
    held_out = [
        Work.of(final.on(task), runs, use=HELD_OUT if is_tested else UNTESTED)
        for task, is_tested in tasks.held_out
        if (runs := plan.held_out_runs(is_tested))
    ]
    return [*searched, *held_out]


def scaled(plan: EvolvePlan, factor: float) -> EvolvePlan:
    """Fewer or more runs in every part; small studies also race fewer programs and have fewer generations."""

    def count(value: int, least: int) -> int:
        return max(least, round(value * factor))

    def race(whole: Race, keep: int) -> Race:
        return Race(runs=first, keep=keep if is_small else whole.keep, more=max(first, count(whole.more, 3)))

    is_small, first = factor < 0.75, count(plan.opening.runs, 3)
    decides: tuple[Role, ...] = ("champion", "control", "own")
    changes = {
        "opening": race(plan.opening, 3),
        "generation": race(plan.generation, 2),
        "generations": 1 if factor < 0.5 else 2 if is_small else plan.generations,
        "final": {role: count(runs, 4 if role in decides else 3) for role, runs in plan.final.items()},
        "shown_runs": count(plan.shown_runs, 3),
    }
    if is_small:
        changes |= {"starters": 8, "children": 4}
    return plan.model_copy(update=changes)


def with_runs(plan: EvolvePlan, runs: int | None) -> EvolvePlan:
    """The plan with so many runs of each program in a race, or more where it has more for the best; None keeps it."""
    if runs is None:
        return plan
    races = {
        name: race.model_copy(update={"runs": runs, "more": max(runs, race.more)})
        for name, race in (("opening", plan.opening), ("generation", plan.generation))
    }
    return plan.model_copy(update=races)


def within(
    budget: float, seconds: Callable[[EvolvePlan], float], sized: Sized, task: Task, runs: int | None = None
) -> EvolvePlan:
    """The largest plan of the default's proportions whose device time, by ``seconds``, fits ``budget`` device-seconds.
    ``sized`` sets the numbers that do not depend on the budget; ``runs``: of each program in a race, if not the
    default's. Raises UsageError where not even the smallest fits."""
    for percent in range(MOST, 0, -2):
        plan = sized(with_runs(scaled(DEFAULT, percent / 100), runs))
        if seconds(plan) <= budget:
            return plan
    raise UsageError(
        f"a budget of {budget:.0f} s is too small: the smallest study on {task.name} takes about {seconds(plan):.0f} s",
        hint="raise --budget, or lower --run-budget (or --set generations=N, or --runs)",
    )


def night_size(budget: float, task: Task) -> tuple[float, int]:
    """(run budget in device-seconds, fresh seeds of the final trainings) of one night that ``budget`` device-seconds
    pay for. Raises UsageError below LEAST_EXPERIMENTS."""
    experiments = int(budget / task.cost_seconds + 1e-9)
    if experiments < LEAST_EXPERIMENTS:
        raise UsageError(
            f"a budget of {budget:g} s is too small: it pays for {experiments} experiments on {task.name}, of "
            f"{task.cost_seconds:g} s each, and {LEAST_EXPERIMENTS} are needed",
            hint="raise --budget, or make an experiment of the task cheaper",
        )
    seeds = next(seeds for most, seeds in NIGHT_SEEDS if experiments < most)
    return (experiments - (2 + task.timed) * seeds) * task.cost_seconds, seeds


def night_seconds(cost: RunCost, confirm_seeds: int) -> float:
    """Expected device-seconds of a night, its trainings with fresh seeds included: of a metric that is a time, the
    untouched script is measured again at the end."""
    return final_cost(cost, confirm_seeds).seconds(1, confirm_seeds * (1 + cost.task.timed))
