"""The plan of `evolve` and `improve`: the cost, the power, and what is compared with what."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from analysis.wording import many
from meta.cli import launch, mutation, plan_words
from meta.cli.evolve_tasks import ChosenTasks
from meta.cli.launch import LaunchSettings
from meta.cli.study_size import Dial, headroom_words, trial_tells
from meta.planned_work import PlannedWork

if TYPE_CHECKING:
    from arena.settings import FromStudy, UsedKnowledge
    from arena.study import Study
    from meta.learnt import Learnt
    from meta.plan import Plan
    from programs.program import Program
    from trainer.task import Task


def describe(plan: Plan, on: ChosenTasks, settings: LaunchSettings, study: Study | None) -> PlannedWork:
    """The cost of the study, and the power of its confirmation. ``study``: the one that is resumed."""
    from meta.task_families import describe as family_work

    task, *further = on.training
    workers, devices = settings.at_once(study, on.training)
    whole = family_work(plan, on.families, workers) if on.families else on_tasks(plan, on, settings, study)
    sandboxed = settings.sandbox if study is None else study.config.sandbox
    planned = launch.with_sandbox(whole, task, sandboxed, devices)
    planned |= {
        "runs_in_all": plan_words.total_runs(planned),
        "experiments_in_all": plan_words.all_experiments(planned),
    }
    planned |= settings.researcher_choice.bill(task, planned["experiments"], study)
    model_config = study.config.staff if study else settings.researcher_choice.settled
    planned |= mutation.bill(plan, model_config, planned)
    if on.families:
        return {"tells": launch.power_over_tasks(plan.family_confirm * len(on.training))} | planned
    of = f"each of the champion and {'your program' if plan.own_arm else 'stock'}"  # the other arms have fewer
    if further:  # each run is a sample of the mean over the tasks, in one unit
        power = launch.power_sentence(plan.confirm_runs * len(on.training), of=of)
        return {"tells": f"confirmation over {len(on.training)} tasks: {power}"} | planned
    power = launch.power_sentence(plan.confirm_runs, 1, launch.known_noise(study), task.unit, of)
    if plan.trial:
        return {"tells": trial_tells(plan, task, power)} | planned
    return {"tells": f"confirmation: {power}"} | planned


def on_tasks(plan: Plan, on: ChosenTasks, settings: LaunchSettings, study: Study | None) -> PlannedWork:
    """The cost of a study on tasks."""
    from meta.reserve import runs_on_reserved, runs_on_variant, seconds_on_reserved

    (task, *further), reserve, variant = on.training, on.reserve, on.variant if plan.variant_runs else None
    workers, _ = settings.at_once(study, on.training)
    whole = plan.describe(task, workers, seconds_on_reserved(plan, task, reserve, variant), further)
    if reserve:
        whole["reserve"] = ", ".join(other.name for other in reserve)
        whole["runs_on_reserve"] = runs_on_reserved(plan) * len(reserve)
    if variant:
        drawn = study is not None or settings.seed is not None
        named = variant.name if drawn else f"another member of the family of {task.name}"
        whole["variant"] = f"{named} (other data, another untouched script)"
        whole["runs_on_variant"] = runs_on_variant(plan)
    return whole


def plan_lines(
    command: str,
    plan: Plan,
    on: ChosenTasks,
    programs: Sequence[Program],
    study: Study | None,
    settings: LaunchSettings,
    dial: Dial,
) -> dict[str, str]:
    """What the plan says of the comparison, the headroom test and the screening. ``study``: the one that is resumed."""
    lines: dict[str, str] = {}
    if command == "improve":
        lines["compared_with"] = compared_with(plan, programs, study, settings)
        own = origin_of(programs, study)
        lines["ideas"] = untried(own, study.config.researcher if study else settings.researcher_choice.researcher)
    if (command == "improve" or plan.headroom) and not on.families:
        lines["headroom"] = headroom_words(on.training, None if study else dial, plan)
    if plan.trial:
        mine = programs if command == "improve" else ()
        lines["screening"] = screening_words(plan, on.training[0], mine, study)
    return lines


def origin_lines(
    past: FromStudy | None, used: UsedKnowledge | None, tasks: Sequence[Task], apart: int
) -> dict[str, str]:
    """What the plan says of the past study, and of what was learnt on other tasks. ``apart``: runs of a program with
    such ideas that the study does not start from."""
    from meta.learnt import in_words
    from meta.past_study import sentence

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

    if learnt is None or not own or in_library(own[0].name, own[0].program_id):
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
    begin, taken = 0.0, 0.0
    for end, charter in learnt.program.charter.by_phase():
        share = charter.proposers.get("queue", 0.0) / sum(charter.proposers.values())
        taken += (end - begin) * plan.run_experiments(task) * share
        begin = end
    few = ", so it hardly reaches the learnt ones" * (taken <= before)
    return f"{come}, and a run takes about {taken:.0f} from the list{few}"


def compared_with(plan: Plan, programs: Sequence[Program], study: Study | None, settings: LaunchSettings) -> str:
    """Which program the confirmation compares the champion with, and why."""
    from analysis.decision_text import yours

    name = origin_of(programs, study).name
    if plan.own_arm:
        named = "" if name == "program" else f" (its name: {name})"
        return f"your own program{named}{'' if plan.trial else '; stock runs too, but is not part of the test'}"
    if name == "stock":
        return "stock"
    same = f"stock, the plain keep-if-better loop, because this researcher runs {yours(name)} exactly like it"
    if study is None and settings.researcher_choice.researcher != "scripted":
        return same
    return f"{same}: a script reads its settings and the edits in backticks, not its prose (a model does: -m)"


def untried(own: Program, researcher: str) -> str:
    """That a script does not try the ideas of the user's program, and the lines that change this; else empty."""
    queued = any("queue" in charter.proposers for _, charter in own.charter.by_phase())
    if researcher != "scripted" or queued or not any(idea.terms for idea in own.ideas):
        return ""
    return (
        "a script does not try those of your program, because its settings name no `queue`. To have them tried, put "
        "these three lines at its beginning (or the middle one into its front matter): `---`, "
        "`metaloop: {proposers: {queue: 0.9, local: 0.1}}`, `---`"
    )


def like_stock(own: Program, training: Sequence[Task], researcher: str) -> bool:
    """Whether the researcher does the same under the user's program as under stock, on every task."""
    from meta.novelty import Novelty
    from programs.shelf import starter

    novelty = Novelty(training, researcher)
    return novelty.behaviour(own) == novelty.behaviour(starter("stock"))


def screening_words(plan: Plan, task: Task, own: Sequence[Program], study: Study | None) -> str:
    """Whether the new program of a trial screens candidates by short trainings, and why. A study that is resumed keeps
    what its program says."""
    from meta.population import screening
    from programs.program import Program as Parsed

    if study is None:
        return screening(own, task, plan.run_experiments(task))[1]
    programs = [Parsed.parse(text, name) for name, text in study.config.programs]
    charter = next(one for one in programs if one.program_id == study.config.plan.get("candidate")).charter
    return f"used: waves of {charter.wave}" if charter.screen.fraction < 1 else "not used"
