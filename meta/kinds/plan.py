"""The size of a study: one dial (quick, default, or a device budget) sets the number of runs of every part."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import MISSING, dataclass, fields, replace
from typing import Any

from pydantic import JsonValue

from analysis.verdict.decision import LEVEL
from analysis.wording import many
from arena.race import Stage
from arena.setup import BASELINE_SEEDS, CONFIRM_SEEDS, LEAST_HARVEST, VERIFY_SEEDS, RunCost
from meta.kinds.cost import Work
from programs.errors import UsageError
from trainer.task import Task

TURNS = "turns"  # in the plan of study.toml: ids of the programs of a night
RACE_RULE = "halving"
TEST = "test"  # in the plan of study.toml: the one announced test


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

    The elites are the possible parents, so that children are raced beside all their parents; with ``own_arm``
    the user's program is an arm of the confirmation, ``confirm_runs`` times. ``harvest_percent`` of the
    device time of all runs is added for the search for the best train.py (`arena.harvest`). ``variant_runs`` is the
    number of runs of each arm on a held-out task of the first one's family, if it has one.
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
    confirm_seeds: int = 0
    night: int = 0
    baseline_seeds: int = 0
    start_runs: int = 0
    learnt_runs: int = 0

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
        few = self.ablation_runs + self.control_runs + self.start_runs + self.learnt_runs
        return self.night or (2 + self.own_arm) * self.confirm_runs + few

    @property
    def test(self) -> dict[str, JsonValue]:
        """How the announced test is made (`meta.claim`, of a night `block_test`); recorded before the first run."""
        method, skewness = ("permutation of turns", "none") if self.night else ("Welch", "Cornish-Fisher")
        return {"method": method, "sides": 1, "level": LEVEL, "skewness": skewness}

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
        if self.night:
            return final.seconds(self.night, self.baseline_seeds * (1 + task.timed))  # a time is looked at again
        seconds = cost.seconds(self.search_runs) + final.seconds(self.final_runs, BASELINE_SEEDS)
        return seconds + self.harvest_experiments(task) * task.cost_seconds

    def harvest_experiments(self, task: Task) -> int:
        """Trainings of the harvest, those that verify its result included; 0 without one."""
        if not self.harvest_percent:
            return 0
        seconds = RunCost(task, self.run_budget).seconds(self.runs)
        return max(LEAST_HARVEST, int(seconds * self.harvest_percent / 100 / task.cost_seconds))

    def works(self, task: Task, further: Sequence[Task] = ()) -> list[Work]:
        """Of the search and the confirmation on each task; runs have as many experiments on each."""
        cost, seconds = RunCost(task, self.run_budget), self.device_seconds(task)
        return [
            Work.of(cost.on(each), self.runs, seconds * each.cost_seconds / task.cost_seconds)
            for each in (task, *further)
        ]

    def stages(self) -> list[dict[str, str]]:
        """What is played, with the runs of each program."""

        def runs(least: int, most: int = 0) -> str:
            return f"{least} to {most}" if most > least else str(least)

        if self.night:
            rows = [("one night", "by turns on one train.py", "1")]
            rows += [("measurement", "main, and the untouched files", f"{self.confirm_seeds} trainings")]
        else:
            bred, best = f"{self.children} new, {self.elites} old", "the best, your program" * bool(self.own_arm)
            rows = [("opening race", f"{self.starters}, and stock (A/A)", runs(self.opening_runs, self.opening_more))]
            rows += [(many(self.generations, "generation"), bred, runs(self.child_runs, self.child_more))][
                : self.generations
            ]
            rows += [("confirmation", f"{best or 'the best'} and stock", runs(self.confirm_runs))]
            rows += [
                ("", what, runs(count))
                for what, count in (
                    ("the best without its ideas", self.ablation_runs),
                    ("the program that it came from, if it was changed", self.start_runs),
                    ("one with ideas learnt on other tasks", self.learnt_runs),
                    ("stock again, and a program of one sentence", self.control_runs),
                )
                if count
            ]
        return [{"stage": stage, "programs": programs, "runs of each": count} for stage, programs, count in rows]


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
LEAST_EXPERIMENTS = 8  # of a night
NIGHT_SEEDS = (
    (30, 2),
    (90, 3),
    (200, 4),
    (math.inf, 8),
)  # below so many experiments: fresh seeds of main, of untouched
POWERED_RUNS = 45  # of each program: 1.3 times as good is shown with 80% power, with an SD of half the gain
MOST = 400  # a budget buys at most this percentage of the default's runs


def quick(task: Task, run_budget: float | None = None) -> Plan:
    return replace(QUICK, run_budget=run_budget or QUICK_EXPERIMENTS * task.cost_seconds)


def default(task: Task, run_budget: float | None = None) -> Plan:
    return replace(DEFAULT, run_budget=run_budget or task.run_budget)


def within(
    budget: float,
    task: Task,
    run_budget: float | None = None,
    seconds: Callable[[Plan], float] | None = None,
    given: Callable[[Plan], Plan] = lambda plan: plan,
) -> Plan:
    """The largest plan of the default's proportions whose expected device time fits ``budget`` seconds.

    ``seconds``: device time of a plan, where it has further tasks; ``given``: sets the numbers that do not depend on
    the budget.

    Raises UsageError when not even the smallest study fits.
    """
    whole, takes = default(task, run_budget), seconds or (lambda plan: plan.device_seconds(task))
    for percent in range(MOST, 0, -2):
        plan = given(scaled(given(whole), percent / 100))
        if takes(plan) <= budget:
            return plan
    smallest = takes(plan)
    raise UsageError(
        f"a budget of {budget:.0f} s is too small: the smallest study on {task.name} takes about {smallest:.0f} s",
        hint=f"raise --budget, or lower --run-budget from {whole.run_budget:g}s (or --set generations=N, or --seeds)",
    )


def night(budget: float, task: Task) -> Plan:
    """One night that ``budget`` device-seconds pay for. Raises UsageError below LEAST_EXPERIMENTS."""
    experiments = int(budget / task.cost_seconds + 1e-9)
    if experiments < LEAST_EXPERIMENTS:
        raise UsageError(
            f"a budget of {budget:g} s is too small: it pays for {experiments} experiments on {task.name}, of "
            f"{task.cost_seconds:g} s each, and {LEAST_EXPERIMENTS} are needed",
            hint="raise --budget, or make an experiment of the task cheaper",
        )
    fresh = next(seeds for most, seeds in NIGHT_SEEDS if experiments < most)
    none = dict.fromkeys((field.name for field in fields(Plan) if field.default is MISSING), 0)
    run_budget = (experiments - (2 + task.timed) * fresh) * task.cost_seconds
    return Plan(**{**none, "run_budget": run_budget, "children": 1}, night=1, confirm_seeds=fresh, baseline_seeds=fresh)  # type: ignore[arg-type]


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
