"""The plan of `evolve` and `improve`: the cost, the power, and what is compared with what."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from analysis.wording import duration, many
from arena.setup import VERIFY_SEEDS
from meta.cli import planned_power
from meta.cli.evolve_tasks import ChosenTasks
from meta.cli.launch import LaunchSettings
from meta.cli.researcher_choice import UNPRICED
from meta.cli.study_size import night_tells
from meta.kinds.cost import FREE, Cost, Work
from meta.reserve import DRAWN
from programs.errors import UsageError

if TYPE_CHECKING:
    from arena.settings import FromStudy, UsedKnowledge
    from arena.study import Study
    from inner_loop.run_context import ModelConfig
    from meta.kinds.past_study import PastStudy
    from meta.kinds.plan import Plan
    from meta.learnt import Learnt
    from programs.program import Program
    from trainer.task import Task


def cost_of(
    plan: Plan, on: ChosenTasks, settings: LaunchSettings, study: Study | None, past: PastStudy | None = None
) -> Cost:
    """What the study costs, and the power of its confirmation. ``study``: the one that is resumed; ``past``: the one
    that a new one starts from."""
    from meta.reserve import works_on_reserved

    task, *further = on.training
    works = [*plan.works(task, further), *works_on_reserved(plan, task, on.reserve, on.variant)]
    drawn = study is not None or settings.seed is not None
    named = f"a member of the family of {task.name}"  # which one is drawn when the study begins
    works = [one if drawn or one.use != DRAWN else replace(one, task=named) for one in works]
    start = ""
    if plan.night and past and past.main_seconds:
        works = [from_main(works[0], plan, task, past.main_seconds)]
        start = f"main of {past.used.folder}, of which a training takes {duration(past.main_seconds)}"
        start += f" (one of the untouched script {duration(task.cost_seconds)})"
    more = {"harvest": plan.harvest_experiments(task), "stages": plan.stages(), "plan": asdict(plan)}
    cost = settings.cost(study, on.training, works, plan.confirm_seeds or VERIFY_SEEDS, **more)
    cost = settings.researcher_choice.billed(cost, task, study)
    cost = with_writing(cost, plan, study.config.staff if study else settings.researcher_choice.settled)
    test = ", ".join(f"{name} {value}" for name, value in plan.test.items())
    power = power_of(plan, on, study, bool(cost.looks))
    return cost.knowing(test=test).saying(power=power, start=start)


def from_main(night: Work, plan: Plan, task: Task, seconds: float) -> Work:
    """A night whose trainings take as long as those of the `main` that it begins with."""
    longer = plan.confirm_seeds * (seconds - task.cost_seconds)
    experiments = max(1, int(plan.run_budget / seconds))
    return replace(night, experiments=experiments, device_seconds=night.device_seconds + longer)


def power_of(plan: Plan, on: ChosenTasks, study: Study | None, same_rows: bool) -> str:
    """What the confirmation can show. ``same_rows``: its runs are all measured on the same validation rows."""
    task, *further = on.training
    if plan.night:
        return night_tells(plan, task)
    size = len(on.training)  # each run is a sample of the mean over the tasks, in one unit
    more = 0 if plan.own_arm else size * plan.control_runs  # of stock's second arm, pooled with the first
    runs = size * plan.confirm_runs
    other = f"each of the champion and {'your program' if plan.own_arm else 'stock'}"
    of = f"of the champion and {runs + more} of stock" if more else other
    over, sd = (f"confirmation over {size} tasks: ", None) if further else ("", planned_power.known_sd(study))
    return over + planned_power.power_sentence(runs, 1, sd, task.unit, of, more, same_rows)


def plan_lines(
    command: str,
    plan: Plan,
    on: ChosenTasks,
    programs: Sequence[Program],
    study: Study | None,
    settings: LaunchSettings,
) -> dict[str, str]:
    """What the plan says of the comparison. ``study``: the one that is resumed."""
    lines: dict[str, str] = {}
    if command == "improve":
        own = origin_of(programs, study)
        if not plan.night:
            lines["compared_with"] = compared_with(plan, programs, study, settings)
        researcher = study.config.researcher if study else settings.researcher_choice.researcher
        lines["ideas"] = untried(own, researcher, on.training[0])
    return lines


def origin_lines(
    past: FromStudy | None, used: UsedKnowledge | None, tasks: Sequence[Task], apart: int
) -> dict[str, str]:
    """What the plan says of the past study, and of what was learnt on other tasks. ``apart``: runs of a program with
    such ideas that the study does not start from."""
    from meta.kinds.past_study import sentence
    from meta.learnt import in_words

    role = "compared_with_learnt" if apart else "knowledge"
    return {"from_study": sentence(past) if past else "", role: in_words(used, tasks) if used else ""}


def origin_of(programs: Sequence[Program], study: Study | None) -> Program:
    """The user's program, of `improve`."""
    origin = study.config.plan.get("origin") if study else programs[0].program_id
    return next((program for program in programs if program.program_id == origin), programs[0])


def after_own(learnt: Learnt | None, own: Sequence[Program], task: Task, plan: Plan, researcher: str) -> str:
    """For a plan: that learnt ideas come after the user's, and how many ideas a run takes; empty without any. A
    script tries only ideas with an edit that the task allows; how many a model tries is not known."""
    from inner_loop.behaviour import resolved_ideas
    from programs.shelf import in_library

    if learnt is None or not own or in_library(own[0]):
        return ""
    mine = {idea.directive_id for idea in own[0].ideas}
    tried = {idea.directive_id for idea, _ in resolved_ideas(learnt.program, task)}
    before = len(mine & tried if researcher == "scripted" else mine)
    if not before:
        return ""
    come = f"; they come after the {many(before, 'idea')} of your program"
    come += " that a script tries" * (before < len(mine))
    if researcher != "scripted":
        return come
    shares = learnt.program.charter.proposers
    taken = plan.run_experiments(task) * shares.get("queue", 0.0) / sum(shares.values())
    few = ", so it hardly reaches the learnt ones" * (taken <= before)
    return f"{come}, and a run takes about {taken:.0f} from the list{few}"


def compared_with(plan: Plan, programs: Sequence[Program], study: Study | None, settings: LaunchSettings) -> str:
    """Which program the confirmation compares the champion with, and why."""
    name = origin_of(programs, study).name
    if plan.own_arm:
        named = "" if name == "program" else f" (its name: {name})"
        return f"your own program{named}; stock runs too, but is not part of the test"
    if name == "stock":
        return "stock"
    same = f"stock, the plain keep-if-better loop, because this researcher runs your program {name} exactly like it"
    if study is None and settings.researcher_choice.researcher != "scripted":
        return same
    return f"{same}: a script reads its settings and the edits in backticks, not its prose (a model does: -m)"


def untried(own: Program, researcher: str, task: Task) -> str:
    """Which ideas of the user's program a script does not try, and what changes this; else empty."""
    from inner_loop.behaviour import resolved_ideas

    queued = own.charter.has_queue
    stated = [idea for idea in own.ideas if idea.terms]
    if researcher != "scripted" or not stated:
        return ""
    if queued:
        tried = {idea.directive_id for idea, _ in resolved_ideas(own, task)}
        lost = [idea for idea in stated if idea.directive_id not in tried]
        first = f"`{'` `'.join(lost[0].terms)}`" if lost else ""
        why = f"{first} is no edit of {task.name}; metaloop program lint says why"
        return (
            f"a script tries {len(stated) - len(lost)} of the {many(len(stated), 'idea')} of your program: {why}"
            * bool(lost)
        )
    return (
        "a script does not try those of your program, because its settings name no `queue`. To have them tried, put "
        "these three lines at its beginning (or the middle one into its front matter): `---`, "
        "`metaloop: {proposers: {queue: 0.9, local: 0.1}}`, `---`"
    )


def night_words(own: Program, learnt: Learnt | None, task: Task, researcher: str, past: PastStudy | None) -> str:
    """The programs of a night, and which settings of them it does not use."""
    from analysis.wording import listed
    from inner_loop.contracts import NIGHT_RULES
    from meta.learnt import in_words
    from meta.population import taking_turns
    from programs.settings import charter_fields

    turns = taking_turns(own, learnt.program if learnt else None, task, researcher, past.champion if past else None)
    names = listed([f"{one.name}{' (yours)' * (one is own)}" for one in turns], len(turns))
    said = f"{names} take turns on one train.py, in random blocks; what one of them improves is the start of the next"
    if learnt and learnt.program in turns:
        said += f"; {learnt.program.name} has ideas learnt on {in_words(learnt.used, [task])}"
    if own not in turns:
        said += "; a script can follow nothing in your program, so it has no turns (a model follows prose: -m)"
    unused = sorted({field.partition(".")[0] for one in turns for field in charter_fields(one.text)} & {*NIGHT_RULES})
    said += f"; a night has rules of its own for {listed(unused, len(unused))}" if unused else ""
    return f"{said}; it begins with main of {past.used.folder}" if past and past.main else said


# -- the models that write programs -----------------------------------------------------------------------------


def instructions_of(path: str | None) -> Program | None:
    """The program of ``--set meta_program=FILE``. Raises NotFound, ProgramError."""
    from programs import folder

    return folder.load(Path(path).expanduser()) if path else None


def with_writing(cost: Cost, plan: Plan, model_config: ModelConfig) -> Cost:
    """The cost with the most that writing programs takes; the same where no model writes programs."""
    generations = plan.generations or plan.night
    if not model_config.models or not generations or os.environ.get("METALOOP_REPLAY"):
        return cost
    from meta.mutators.llm.calls import bill as most

    limit = most(generations, plan.children, model_config)
    price = cost.facts["price"].replace(FREE, "own device")
    price += f"; new programs take at most {limit.calls} calls, {limit.words()}"
    price += UNPRICED.format(model_config.models[0]) * (limit.usd is None and UNPRICED[:10] not in price)
    spent = {"mutation_calls": limit.calls, "mutation_tokens": limit.tokens, "mutation_usd": limit.usd}
    return cost.knowing(**spent).saying(price=price)


def refuse_alone(meta_program: Program | None, model_config: ModelConfig) -> None:
    """Raise UsageError for a meta program without a model: it would have no effect."""
    if meta_program is not None and not model_config.models:
        raise UsageError("--set meta_program needs a model that writes programs", hint="name one: -m NAME")
