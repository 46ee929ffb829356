"""The size of a study of instructions: the number of instructions, jobs and runs; its calls and its device time."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

from arena.race import Stage
from arena.setup import RunCost
from meta.mutators.llm.bill import bill_of
from meta.plan import OVERHEAD, QUICK_EXPERIMENTS, SETUP
from meta.planned_work import PlannedWork
from programs.errors import Corrupt

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from inner_loop.models.bill import Bill
    from inner_loop.run_context import ModelConfig
    from trainer.task import Task

TRIES = 2  # replies for one child (the second is a repair), and for one instruction
PARENTS = 2  # of a child, at most


@dataclass(frozen=True)
class InstructionPlan:
    """Numbers of instructions, jobs and runs; ``run_budget`` in device-seconds.

    On each task, ``starters`` programs race with ``opening_runs`` each. Every instruction gets ``first_jobs`` jobs on
    each task of the pool, the best ``keep`` get ``more_jobs``. Each of the ``generations`` writes ``children`` new
    instructions. Every child and its parents have ``child_runs`` runs. The best instruction and today's get
    ``confirm_jobs`` jobs on each task of the confirmation. Over families there are ``family_tasks`` tasks of each in
    the pool, and ``family_confirm`` in the confirmation.
    """

    starters: int
    opening_runs: int
    child_runs: int
    first_jobs: int
    keep: int
    more_jobs: int
    generations: int
    children: int
    confirm_jobs: int
    family_tasks: int
    family_confirm: int
    run_budget: float = 0.0

    @property
    def stages(self) -> tuple[Stage, Stage]:
        return Stage(None, self.first_jobs), Stage(self.keep, self.more_jobs)

    def pool_jobs(self, given: int) -> int:
        """Jobs on one task of the pool, at most; ``given``: instructions before the first generation."""
        new = given + self.generations * self.children
        return new * self.first_jobs + (1 + self.generations) * self.keep * (self.more_jobs - self.first_jobs)

    def calls(self, given: int, pool: int, confirm: int) -> int:
        """At most, on so many tasks."""
        jobs = self.pool_jobs(given) * pool + 2 * self.confirm_jobs * confirm
        return TRIES * (jobs + self.generations * self.children)

    def runs(self, given: int) -> tuple[int, int]:
        """Runs on one task of the pool, and on one of the confirmation, at most."""
        opening = (self.starters + 2) * self.opening_runs  # with stock's second arm, and the one-line program
        pool = self.pool_jobs(given) + self._parents(self.more_jobs)
        confirm = 2 * self.confirm_jobs + self._parents(self.confirm_jobs)
        return opening + pool * self.child_runs, opening + confirm * self.child_runs

    def _parents(self, jobs: int) -> int:
        """Different parents of so many jobs, at most: each is run once."""
        return min(PARENTS * jobs, self.starters + 1)


QUICK = InstructionPlan(
    starters=4, opening_runs=3, child_runs=3, first_jobs=1, keep=2, more_jobs=2, generations=1, children=2,
    confirm_jobs=2, family_tasks=3, family_confirm=6,
)  # fmt: skip
DEFAULT = InstructionPlan(
    starters=6, opening_runs=4, child_runs=4, first_jobs=2, keep=2, more_jobs=4, generations=3, children=3,
    confirm_jobs=3, family_tasks=4, family_confirm=8,
)  # fmt: skip


def sized(
    first: Task, *, is_quick: bool, run_budget: float | None, generations: int | None, seeds: int | None
) -> InstructionPlan:
    """The plan from the flags; None keeps a number."""
    plan = QUICK if is_quick else DEFAULT
    budget = run_budget or (QUICK_EXPERIMENTS * first.cost_seconds if is_quick else first.run_budget)
    runs = {"opening_runs": seeds, "child_runs": seeds} if seeds else {}
    made = replace(plan, run_budget=budget, **runs)
    return made if generations is None else replace(made, generations=generations)


def is_in(settings: Mapping[str, object]) -> bool:
    """Whether the plan of a study.toml is one of instructions."""
    return "confirm_jobs" in settings


def read(settings: Mapping[str, object], folder: Path) -> InstructionPlan:
    """The plan of a study.toml. Raises Corrupt."""
    whole = {name: kind for name, kind in InstructionPlan.__annotations__.items() if kind == "int"}
    numbers = {name: value for name, value in settings.items() if type(value) is int and value >= 0 and name in whole}
    budget = settings.get("run_budget")
    if numbers.keys() != whole.keys() or not isinstance(budget, int | float) or budget <= 0:
        raise Corrupt(
            f"{folder}/study.toml: [plan] is not a plan of this version", hint="restore study.toml from a copy"
        )
    return InstructionPlan(**numbers, run_budget=float(budget))


def bill(plan: InstructionPlan, config: ModelConfig, given: int, pool: int, confirm: int) -> Bill:
    """The highest cost of the calls."""
    return bill_of(config, plan.calls(given, pool, confirm))


def describe(
    plan: InstructionPlan, pool: Sequence[Task], confirm: Sequence[Task], given: int, workers: int, config: ModelConfig
) -> PlannedWork:
    """The cost of the study: calls and device time, both at most. ``confirm``: none if it is on the pool's tasks."""
    cost = RunCost(pool[0], plan.run_budget)
    on_pool, on_confirm = plan.runs(given)
    if not confirm:  # their opening race has been played
        on_pool, on_confirm = on_pool + on_confirm - (plan.starters + 2) * plan.opening_runs, 0
    seconds = sum(cost.on(task).seconds(on_pool) for task in pool)
    seconds += sum(cost.on(task).seconds(on_confirm) for task in confirm)
    most = bill(plan, config, given, len(pool), len(confirm) or len(pool))
    runs = on_pool * len(pool) + on_confirm * len(confirm)
    planned: PlannedWork = {
        "task": ", ".join(task.name for task in pool),
        "runs": runs,
        "experiments_per_run": cost.experiments,
        "experiments": runs * cost.experiments,
        "run_budget_s": plan.run_budget,
        "device_seconds": round(seconds, 1),
        "workers": workers,
        "wall_seconds": round(seconds / workers * OVERHEAD + SETUP, 1),
        "price": f"own device; at most {most.calls} calls, {most.words()}",
        "plan": asdict(plan),
        "researcher": "scripted",
        "models": ", ".join(config.models),
        "mutation_calls": most.calls,
        "mutation_tokens": most.tokens,
        "mutation_usd": most.usd,
    }
    if len(pool) > 1:
        planned["run_budgets_s"] = {task.name: round(cost.on(task).run_budget, 6) for task in pool}
    if confirm:
        planned["reserve"] = ", ".join(task.name for task in confirm)
    return planned
