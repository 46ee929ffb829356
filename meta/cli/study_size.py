"""The size of a study: the flags that set it, and the plan that they make."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated

from analysis.wording import duration, many
from meta.cli.flags import BudgetFlag, HarvestFlag, RunBudgetFlag
from meta.cli.options import flag, rare
from programs.errors import UsageError

if TYPE_CHECKING:
    from meta.kinds.plan import Plan
    from trainer.task import Task


@dataclass(frozen=True)
class Dial:
    """The size of a study: the default, --budget or --quick; the other flags change single numbers of it."""

    run_budget: RunBudgetFlag
    budget: BudgetFlag
    quick: Annotated[
        bool, flag("A small study: 2 to 3 minutes on 2 idle cores for the task strokes, longer for longer experiments.")
    ]
    generations: Annotated[int | None, rare("Number of generations of new programs.", min=0)]
    seeds: Annotated[int | None, flag("Runs per program in a race.", "-n", min=2)]
    harvest: HarvestFlag

    @property
    def names_matches(self) -> bool:
        """Whether a flag sets a number of matches, which a night does not have."""
        numbers = (self.run_budget, self.generations, self.seeds, self.harvest)
        return any(number is not None for number in numbers)


def plan_of(
    training: Sequence[Task],
    dial: Dial,
    reserve: Sequence[Task] = (),
    *,
    own_arm: bool = False,
    variant: Task | None = None,
    improves: bool = False,
) -> Plan:
    """The size of a study, from its flags; ``improves``: of the command `improve`, which has nights, too."""
    from meta.kinds import plan as plans
    from meta.kinds.cost import seconds_of
    from meta.reserve import works_on_reserved

    task, *further = training
    if dial.quick and dial.budget is not None:
        raise UsageError("--quick and --budget both set the size of the study", hint="leave one of them out")
    more = {"own_arm": int(own_arm), "harvest_percent": dial.harvest, "generations": dial.generations}
    more |= {"start_runs": 0} if own_arm else {}

    def given(plan: Plan) -> Plan:
        return plans.override(seeded(plan, dial.seeds), **more)

    if dial.budget is None:
        return given((plans.quick if dial.quick else plans.default)(task, dial.run_budget))
    nights = improves and not (further or reserve or dial.names_matches)
    try:
        matches = plans.within(
            dial.budget,
            task,
            dial.run_budget,
            lambda p: seconds_of([*p.works(task, further), *works_on_reserved(p, task, reserve, variant)]),
            given,
        )
    except UsageError:
        if not nights:
            raise
        return plans.night(dial.budget, task)
    powered = not nights or matches.confirm_runs >= plans.POWERED_RUNS
    return matches if powered else plans.night(dial.budget, task)


def seeded(plan: Plan, seeds: int | None) -> Plan:
    """The plan with so many runs of each program in a race, or more where it has more for the best; None keeps it."""
    if seeds is None:
        return plan
    more = {"opening_more": max(seeds, plan.opening_more), "child_more": max(seeds, plan.child_more)}
    return replace(plan, opening_runs=seeds, aa_runs=seeds, child_runs=seeds, **more)


def unused_budget(dial: Dial, seconds: float) -> str:
    """Why a study uses less than half of its budget; else empty."""
    from meta.kinds.plan import MOST

    if dial.budget is None or seconds > dial.budget / 2:
        return ""
    return (
        f"{duration(seconds)} of {duration(dial.budget)} will be used, because a budget buys at most "
        f"{MOST // 100} times the runs of a default study. To use more: --run-budget or --set generations=N"
    )


def night_tells(plan: Plan, task: Task) -> str:
    """Why a budget is used for a night, and what that can show."""
    from meta.night import night_is_short

    why = (
        f"one night, because {duration(plan.device_seconds(task))} do not pay for matches that show, with 80% power, "
        "that one program is 1.3 times as good where the SD between runs is half the gain; main is trained again "
        f"{many(plan.confirm_seeds, 'time')} at the end"
    )
    short = night_is_short(task, plan.run_budget)
    return f"{why}; {'so short a night does not show' if short else 'one night hardly shows'} which program is better"
