"""The size of a study: the flags that set it, and the plan that they make."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated

from analysis.wording import many
from meta.cli.flags import BudgetFlag, HarvestFlag, RaceRuleFlag, RunBudgetFlag
from meta.cli.options import duration, flag
from programs.errors import UsageError

if TYPE_CHECKING:
    from arena.headroom import HeadroomSize
    from meta.plan import Plan
    from meta.planned_work import PlannedWork
    from trainer.task import Task

FEW_RUNS = 6  # of each program: with fewer only differences of two SDs and more are detected


@dataclass(frozen=True)
class Dial:
    """The size of a study: the default, --budget or --quick; the other flags change single numbers of it."""

    run_budget: RunBudgetFlag
    budget: BudgetFlag
    quick: Annotated[
        bool, flag("A small study: 2 to 3 minutes on 2 idle cores for the task strokes, longer for longer experiments.")
    ]
    generations: Annotated[int | None, flag("Number of generations.", min=0)]
    seeds: Annotated[int | None, flag("Runs per program in a race.", "-n", min=2)]
    race_rule: RaceRuleFlag
    harvest: HarvestFlag
    headroom: Annotated[
        bool | None,
        flag(
            "First test whether any single change of the script helps  [default: `improve`: if this takes at most "
            "10% of the budget; `evolve`: no].",
            "--headroom/--no-headroom",
        ),
    ] = None


def plan_of(
    training: Sequence[Task],
    dial: Dial,
    reserve: Sequence[Task] = (),
    *,
    own_arm: bool = False,
    variant: Task | None = None,
    headroom: bool = False,
) -> Plan:
    """The size of a study, from its flags. ``headroom``: with that test, if it is cheap."""
    plan = sized(training, dial, reserve, own_arm, variant, 0)
    size = headroom_size(training, dial, plan, headroom)
    if size is None:
        return plan
    try:
        tested = sized(training, dial, reserve, own_arm, variant, size.experiments)
    except UsageError:
        if dial.headroom:
            raise
        return plan
    return plan if tested.trial and not plan.trial and not dial.headroom else tested


def headroom_size(training: Sequence[Task], dial: Dial, plan: Plan, wanted: bool) -> HeadroomSize | None:
    """The size of the headroom test; None where it was not asked for and would take too much of the budget."""
    from arena.headroom import SIZES, size_within

    if dial.headroom is False or not (wanted or dial.headroom) or not all(task.edits.knobs for task in training):
        return None
    size = size_within(experiments_of(training, dial, plan))
    return size or (SIZES[-1] if dial.headroom else None)


def experiments_of(training: Sequence[Task], dial: Dial | None, plan: Plan) -> float:
    """How many experiments on each task the budget pays for, or else the plan."""
    task, *further = training
    budget = dial.budget if dial else None
    return (budget or plan.device_seconds(task) + plan.seconds_on(task, further)) / sum(
        t.cost_seconds for t in training
    )


def headroom_words(training: Sequence[Task], dial: Dial | None, plan: Plan) -> str:
    """For a plan: the headroom test, or why it is left out and how to make it. ``dial``: None for a study that is
    resumed."""
    from arena.headroom import SIZES, size_of, size_within
    from arena.setup import reference

    whole = experiments_of(training, dial, plan)

    def share(experiments: int) -> str:
        return (
            f"{experiments / whole:.0%} of the device time"
            if experiments >= 0.01 * whole
            else "under 1% of the device time"
        )

    if size := size_of(plan.headroom):
        each = " on each task" if len(training) > 1 else ""
        return (
            f"before the runs, {many(size.experiments, 'experiment')}{each}, {share(size.experiments)}: the unchanged "
            f"script {size.baselines} times, up to {many(size.changes, 'single change')} once each, the best of them "
            f"{size.again} times more, to see whether any of them helps"
        )
    if none := [task.name for task in training if not task.edits.knobs]:
        return f"not tested: {', '.join(none)} declares no edits"
    if dial is None:
        return "this study was started without a test of it"
    if dial.headroom is False:
        return "not tested, because of --no-headroom"
    if size_within(whole):
        return "not tested: the rest would be too little to search for programs; --headroom makes it anyway"
    alone = f"metaloop task measure {shlex.quote(reference(training[0]))} --headroom"
    least = SIZES[-1].experiments
    return (
        f"not tested: its {least} experiments would take {share(least)}; --headroom makes it anyway, "
        f"`{alone}` makes it alone"
    )


def sized(
    training: Sequence[Task], dial: Dial, reserve: Sequence[Task], own_arm: bool, variant: Task | None, headroom: int
) -> Plan:
    """The plan with so many trainings of the headroom test."""
    from meta import plan as plans
    from meta.reserve import seconds_on_reserved

    task, *further = training
    refuse_unknown_rule(dial)
    if dial.quick and dial.budget is not None:
        raise UsageError("--quick and --budget both set the size of the study", hint="leave one of them out")
    more = {"own_arm": int(own_arm), "harvest_percent": dial.harvest, "headroom": headroom}
    more |= {"generations": dial.generations} | ({"start_runs": 0} if own_arm else {})

    def given(plan: Plan) -> Plan:
        return plans.override(seeded(plan, dial.seeds), **more)

    if dial.quick:
        whole = plans.quick(task, dial.run_budget)
    elif dial.budget is not None and is_trial(dial, task, further, reserve, headroom):
        tried = plans.trial(dial.budget, task, dial.run_budget, dial.harvest, headroom)
        return replace(tried, own_arm=int(own_arm))
    elif dial.budget is not None:
        whole = plans.within(
            dial.budget,
            task,
            dial.run_budget,
            lambda p: p.seconds_on(task, further) + seconds_on_reserved(p, task, reserve, variant),
            given,
        )
    else:
        whole = plans.default(task, dial.run_budget)
    return given(whole)


def is_trial(dial: Dial, task: Task, further: Sequence[Task], reserve: Sequence[Task], headroom: int = 0) -> bool:
    """Whether the budget is too small for a search, so that one new program is tried against the user's own. Raises
    UsageError where other flags need a search."""
    from meta import plan as plans

    whole = plans.override(plans.default(task, dial.run_budget), headroom=headroom)
    if dial.budget is None or further or reserve or dial.budget >= plans.smallest_search(whole, task):
        return False
    for given, name in (
        (dial.seeds is not None, "--seeds"),
        (dial.generations is not None, "--generations"),
        (dial.race_rule is not None, "--race-rule"),
    ):
        if given:
            smallest = duration(plans.smallest_search(whole, task))
            raise UsageError(
                f"{name} is for a study that searches for programs; the smallest on {task.name} takes {smallest}",
                hint=f"leave {name} out, raise --budget, or lower --run-budget from {whole.run_budget:g}s",
            )
    return True


def refuse_unknown_rule(dial: Dial) -> None:
    """Raises NotFound before anything is spent."""
    from arena.race import RACE_RULES

    if dial.race_rule:
        RACE_RULES.get(dial.race_rule)


def seeded(plan: Plan, seeds: int | None) -> Plan:
    """The plan with so many runs of each program in a race, or more where it has more for the best; None keeps it."""
    if seeds is None:
        return plan
    more = {"opening_more": max(seeds, plan.opening_more), "child_more": max(seeds, plan.child_more)}
    return replace(plan, opening_runs=seeds, aa_runs=seeds, child_runs=seeds, **more)


def family_plan(first: Task, dial: Dial, own_arm: bool) -> Plan:
    """The size of a study over families, from its flags."""
    from meta import plan as plans
    from meta.task_families import sized

    refuse_unknown_rule(dial)
    for given, name in (
        (dial.budget is not None, "--budget"),
        (bool(dial.harvest), "--harvest"),
        (bool(dial.headroom), "--headroom"),
    ):
        if given:
            raise UsageError(
                f"{name} is for a study on tasks, not over families", hint="leave it out, or name a --task"
            )
    size = "quick" if dial.quick else "default"
    whole = sized((plans.quick if dial.quick else plans.default)(first, dial.run_budget), size)
    whole = seeded(whole, dial.seeds)
    start = 0 if own_arm else None
    return plans.override(whole, generations=dial.generations, own_arm=int(own_arm), start_runs=start)


def unused_budget(dial: Dial, planned: PlannedWork) -> str:
    """Why a study uses less than half of its budget; else empty."""
    from meta.plan import MOST

    if dial.budget is None or planned["device_seconds"] > dial.budget / 2:
        return ""
    return (
        f"{duration(planned['device_seconds'])} of {duration(dial.budget)} will be used, because a budget buys at most "
        f"{MOST // 100} times the runs of a default study. To use more: longer runs (--run-budget) or --generations"
    )


def trial_tells(plan: Plan, task: Task, power: str) -> str:
    """What a budget that is too small for a search can show."""
    from arena.harvest import FEW
    from meta.plan import default, smallest_search

    smallest = duration(smallest_search(default(task), task))
    few = " So few runs show only a very large difference." if 1 < plan.confirm_runs < FEW_RUNS else ""
    script = "a better train.py" if plan.harvest_count >= FEW else "the best train.py of the runs"
    script_search = "" if plan.without_harvest else f"looks for {script} and "
    return (
        f"the plan {script_search}tests whether one new program beats one other; {power}.{few} Which "
        f"of several programs is best takes a search, {smallest} of device time or more"
    )
