"""The size of a study: one dial (quick, default, or a device budget) sets the number of runs of every part."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from arena.harvest import FEW, LEAST
from arena.race import Stage
from arena.setup import BASELINE_SEEDS, CONFIRM_SEEDS, VERIFY_SEEDS, RunCost
from meta.planned_work import PlannedWork
from programs.errors import UsageError
from trainer.task import Task

RACE_RULE = "halving"  # unless a command names another
OVERHEAD = 1.25  # CPU-seconds of a whole study over its device-seconds: 1.32 of a quick one, 1.19 of a default one
SETUP = 6.0  # start of the workers and the data of a new study, wall seconds


@dataclass(frozen=True)
class Plan:
    """Numbers of programs and of runs per program. Times are device-seconds.

    The opening race brings all ``starters`` to ``opening_runs`` runs and its best ``opening_keep`` to ``opening_more``.
    Each generation races ``children`` new programs and ``elites`` old ones, ``child_runs`` each, the best
    ``child_keep`` of them to ``child_more``. The confirmation runs the champion and stock ``confirm_runs`` times each
    on an unused stream, the champion without its ideas ``ablation_runs`` times, and the other controls, stock again and
    a one-line program that behaves differently, ``control_runs`` times. A champion that evolution changed is also
    compared with the program it started from, which runs ``start_runs`` times. With ``learnt_runs`` nothing that was
    learnt on other tasks starts the study; a program with these ideas is an arm of the confirmation, that many times.

    The elites are the possible parents, so that children are raced beside all their parents;
    with ``own_arm``
    the user's program is an arm of the confirmation, ``confirm_runs`` times. ``harvest_percent`` of the
    device time of all runs is added for the search for the best train.py (`arena.harvest`). ``variant_runs`` is the
    number of runs of each arm on a held-out task of the first one's family, if it has one. A study over families plays
    each stage on ``family_tasks`` new tasks of each, the confirmation on ``family_confirm``; runs are then per task.
    The runs that decide a claim are verified with ``confirm_seeds`` seeds.

    A ``trial`` is too small to search: one program, chosen without its data, is compared with the user's own (with
    stock if that behaves alike) in the confirmation alone. Its gains are over ``baseline_seeds`` trainings of the
    untouched script, its harvest has ``harvest_count`` experiments; with fewer than FEW they only measure the best
    final script of its runs again (`arena.harvest.best_final`), and ``without_harvest`` not even this. ``headroom`` is
    the number of trainings, on each task, that test before everything else whether a single change helps
    (`arena.headroom`).
    """

    starters: int
    opening_runs: int
    opening_keep: int
    opening_more: int
    aa_runs: int
    generations: int
    children: int
    elites: int
    child_runs: int
    child_keep: int
    child_more: int
    confirm_runs: int
    ablation_runs: int
    run_budget: float
    control_runs: int = 0
    own_arm: int = 0
    variant_runs: int = 0
    harvest_percent: int = 0
    family_tasks: int = 0
    family_confirm: int = 0
    confirm_seeds: int = 0
    trial: int = 0
    baseline_seeds: int = 0
    harvest_count: int = 0
    headroom: int = 0
    start_runs: int = 0
    learnt_runs: int = 0
    without_harvest: int = 0

    @property
    def opening(self) -> tuple[Stage, ...]:
        return (Stage(None, self.opening_runs), Stage(self.opening_keep, self.opening_more))

    @property
    def generation(self) -> tuple[Stage, ...]:
        return (Stage(None, self.child_runs), Stage(self.child_keep, self.child_more))

    @property
    def search_runs(self) -> int:
        """Runs whose gains choose programs."""
        opening = self.starters * self.opening_runs + self.aa_runs
        opening += self.opening_keep * max(0, self.opening_more - self.opening_runs)
        each = (self.children + self.elites) * self.child_runs
        each += self.child_keep * max(0, self.child_more - self.child_runs)
        return opening + self.generations * each

    @property
    def final_runs(self) -> int:
        """Runs of the confirmation."""
        arms = 2 if self.trial else 2 + self.own_arm
        few = self.ablation_runs + self.control_runs + self.start_runs + self.learnt_runs
        return arms * self.confirm_runs + few

    @property
    def runs(self) -> int:
        """Runs with the plan's run budget."""
        return self.search_runs + self.final_runs

    def run_experiments(self, task: Task) -> int:
        """Experiments of a run."""
        return RunCost(task, self.run_budget).experiments

    def final_cost(self, task: Task) -> RunCost:
        """Of runs that decide a claim."""
        return RunCost(task, self.run_budget, self.confirm_seeds or VERIFY_SEEDS)

    def device_seconds(self, task: Task) -> float:
        """Expected device-seconds of the whole study: the runs, and their verification by the arena."""
        cost, final = RunCost(task, self.run_budget), self.final_cost(task)
        if self.trial:
            return final.seconds(self.final_runs, besides_runs(self.harvest_count, self.baseline_seeds) + self.headroom)
        seconds = cost.seconds(self.search_runs) + final.seconds(self.final_runs, BASELINE_SEEDS)
        return seconds + (self.harvest_experiments(task) + self.headroom) * task.cost_seconds

    def harvest_experiments(self, task: Task) -> int:
        """Trainings of the harvest, those that verify its result included; 0 without one."""
        if self.harvest_count or not self.harvest_percent:
            return self.harvest_count
        seconds = RunCost(task, self.run_budget).seconds(self.runs)
        return max(LEAST, int(seconds * self.harvest_percent / 100 / task.cost_seconds))

    def seconds_on(self, home: Task, further: Sequence[Task]) -> float:
        """Expected device-seconds on the further tasks; runs have as many experiments on each task."""
        return sum(self.device_seconds(home) * task.cost_seconds / home.cost_seconds for task in further)

    def describe(self, task: Task, workers: int, reserved: float = 0.0, further: Sequence[Task] = ()) -> PlannedWork:
        """The cost of the study; ``reserved``: device-seconds on held-out tasks."""
        per_run = self.run_experiments(task)
        seconds = self.device_seconds(task) + self.seconds_on(task, further) + reserved
        runs = self.runs * (1 + len(further))
        planned: PlannedWork = {
            "task": ", ".join(each.name for each in (task, *further)),
            "runs": runs,
            "experiments_per_run": per_run,
            "experiments": runs * per_run,
            "run_budget_s": self.run_budget,
            "device_seconds": round(seconds, 1),
            "workers": workers,
            "wall_seconds": round(seconds / workers * OVERHEAD + SETUP, 1),
            "price": "no cost: this machine, no model is called",
            "plan": asdict(self),
        }
        if self.harvest_experiments(task):
            planned["harvest_experiments"] = self.harvest_experiments(task)
        if further:
            planned["run_budgets_s"] = self.budgets(task, further)
        return planned

    def budgets(self, home: Task, further: Sequence[Task]) -> dict[str, float]:
        """Device-seconds of a run by task: as many experiments on each."""
        cost = RunCost(home, self.run_budget)
        return {task.name: round(cost.on(task).run_budget, 6) for task in (home, *further)}


QUICK = Plan(
    starters=3, opening_runs=3, opening_keep=2, opening_more=3, aa_runs=3, generations=2, children=3, elites=2,
    child_runs=3, child_keep=2, child_more=5, confirm_runs=10, ablation_runs=4, run_budget=0.0,
    control_runs=4, harvest_percent=3, variant_runs=4, confirm_seeds=CONFIRM_SEEDS, start_runs=6, learnt_runs=6,
)  # fmt: skip
DEFAULT = Plan(
    starters=10, opening_runs=4, opening_keep=4, opening_more=8, aa_runs=4, generations=3, children=5, elites=2,
    child_runs=4, child_keep=2, child_more=8, confirm_runs=20, ablation_runs=12, run_budget=0.0,
    control_runs=4, harvest_percent=10, variant_runs=10, confirm_seeds=CONFIRM_SEEDS, start_runs=12,
)  # fmt: skip
QUICK_EXPERIMENTS = 16
LEAST_EXPERIMENTS = 8  # of a trial
REMEASURED = 3  # trainings of a trial without a search that measure the best script of its runs again
MOST = 400  # a budget buys at most this percentage of the default's runs


def quick(task: Task, run_budget: float | None = None) -> Plan:
    return replace(QUICK, run_budget=run_budget or QUICK_EXPERIMENTS * task.cost_seconds)


def default(task: Task, run_budget: float | None = None) -> Plan:
    return replace(DEFAULT, run_budget=run_budget or task.run_budget)


def within(
    budget: float,
    task: Task,
    run_budget: float | None = None,
    besides: Callable[[Plan], float] = lambda _: 0.0,
    given: Callable[[Plan], Plan] = lambda plan: plan,
) -> Plan:
    """The largest plan of the default's proportions whose expected device time fits ``budget`` seconds.

    ``besides``: device-seconds of a plan on other tasks; ``given``: sets the numbers that do not depend on the budget.

    Raises UsageError when not even the smallest study fits.
    """
    whole = default(task, run_budget)
    for percent in range(MOST, 0, -2):
        plan = given(scaled(given(whole), percent / 100))
        if plan.device_seconds(task) + besides(plan) <= budget:
            return plan
    smallest = plan.device_seconds(task) + besides(plan)
    raise UsageError(
        f"a budget of {budget:.0f} s is too small: the smallest study on {task.name} takes about {smallest:.0f} s",
        hint=f"raise --budget, or lower --run-budget from {whole.run_budget:g}s (or --generations, or --seeds)",
    )


def smallest_search(plan: Plan, task: Task, besides: Callable[[Plan], float] = lambda _: 0.0) -> float:
    """Device-seconds of the smallest study of such proportions that searches for programs."""
    least = scaled(plan, 0.02)
    return least.device_seconds(task) + besides(least)


def besides_runs(harvest: int, baselines: int) -> int:
    """Experiments of a trial besides those of its runs: the search for the best train.py, and baselines for both."""
    return harvest + baselines * (2 if harvest >= FEW else 1)


def trial(
    budget: float, task: Task, run_budget: float | None = None, harvest: int | None = None, headroom: int = 0
) -> Plan:
    """The largest trial whose expected device time fits ``budget`` seconds; ``harvest``: 0 for none.

    About a quarter of it searches for the best train.py, the ``headroom`` trainings included, because that search goes
    on from them. The rest are runs of two programs: 16 experiments long if that
    gives three each, else three of 8 or more, two of 6 or more, or one. With less than 60 experiments there is no such
    search, with 15 or more REMEASURED trainings of the best script of the runs. Raises UsageError below
    LEAST_EXPERIMENTS.
    """
    experiments = int(budget / task.cost_seconds + 1e-9)
    if experiments < LEAST_EXPERIMENTS:
        raise UsageError(
            f"a budget of {budget:g} s is too small: it pays for {experiments} experiments on {task.name}, of "
            f"{task.cost_seconds:g} s each, and {LEAST_EXPERIMENTS} are needed",
            hint="raise --budget, or make an experiment of the task cheaper",
        )
    small = experiments < 60
    count = REMEASURED * (experiments - headroom >= 15) if small else max(FEW, min(60, experiments // 4) - headroom)
    count = 0 if harvest == 0 else count
    count = LEAST - 1 if LEAST <= count < LEAST + 8 else count  # below LEAST a harvest has fewer finalists
    baseline, verify = (2, 1) if small else (4, 2)
    room = experiments - headroom - besides_runs(count, baseline)

    def length(runs: int) -> int:
        return room // (2 * runs) - verify

    runs = next((m for m in range(20, 2, -1) if length(m) >= QUICK_EXPERIMENTS), 0)
    runs = runs or (3 if length(3) >= 8 else 2 if length(2) >= 6 else 1)
    if run_budget is not None:
        runs = max(1, room // (2 * (max(1, int(run_budget / task.cost_seconds)) + verify)))
    each = min(length(runs) * task.cost_seconds, run_budget or math.inf)
    return Plan(
        starters=1,
        opening_runs=0,
        opening_keep=0,
        opening_more=0,
        aa_runs=0,
        generations=0,
        children=0,
        elites=0,
        child_runs=0,
        child_keep=0,
        child_more=0,
        confirm_runs=runs,
        ablation_runs=0,
        run_budget=each,
        confirm_seeds=verify,
        trial=1,
        baseline_seeds=baseline,
        harvest_count=count,
        without_harvest=int(harvest == 0),
        headroom=headroom,
    )


def scaled(plan: Plan, factor: float) -> Plan:
    """Fewer or more runs in every part; small studies also race fewer programs and have fewer generations."""

    def count(value: int, least: int) -> int:
        return max(least, round(value * factor))

    small = factor < 0.75
    first = count(plan.opening_runs, 3)
    return replace(
        plan,
        starters=8 if small else plan.starters,
        opening_runs=first,
        opening_keep=3 if small else plan.opening_keep,
        opening_more=max(first, count(plan.opening_more, 3)),
        aa_runs=count(plan.aa_runs, 3),
        generations=1 if factor < 0.5 else 2 if small else plan.generations,
        children=4 if small else plan.children,
        child_runs=first,
        child_keep=2 if small else plan.child_keep,
        child_more=max(first, count(plan.child_more, 3)),
        confirm_runs=count(plan.confirm_runs, 4),
        ablation_runs=count(plan.ablation_runs, 3),
        control_runs=count(plan.control_runs, 3),
        variant_runs=count(plan.variant_runs, 3),
        start_runs=plan.start_runs and count(plan.start_runs, 3),
    )


def override(plan: Plan, **fields: Any) -> Plan:
    """A plan with some numbers replaced; None keeps a number."""
    return replace(plan, **{k: v for k, v in fields.items() if v is not None})
