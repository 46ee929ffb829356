"""The kind `evolve`: race programs, write better ones from what was measured, test the best on fresh seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from analysis.wording import many
from arena.study.settings import StudyConfig
from arena.study.setup import RunCost, held_out_tasks
from arena.study.study import Study
from arena.work.executor import Progress
from inner_loop.behaviour import resolved_ideas
from meta.cli.study_result import show_study_result
from meta.cli.task_work import trains
from meta.kinds import size
from meta.kinds.contract import StudyKind
from meta.kinds.cost import Cost, Work, study_cost
from meta.kinds.model_costs import with_researcher, with_writers
from meta.kinds.past_study import past_line
from meta.kinds.plans import EvolvePlan, starters_of
from meta.kinds.play_study import play_evolution
from meta.kinds.power import power_sentence
from meta.kinds.study_tasks import StudyTasks
from meta.learnt import in_words
from meta.reserve import family_member
from programs.program import Program
from trainer.task import Task

if TYPE_CHECKING:
    from meta.cli.output import Output

QUEUE = (
    "a script does not try those of your program, because its settings name no `queue`. To have them tried, put these "
    "three lines at its beginning (or the middle one into its front matter): `---`, "
    "`metaloop: {proposers: {queue: 0.9, local: 0.1}}`, `---`"
)


class EvolveKind(StudyKind[EvolvePlan]):
    name = "evolve"
    plan_type = EvolvePlan
    can_apply = True

    def cost(self, config: StudyConfig, plan: EvolvePlan) -> Cost:
        tasks = StudyTasks.of(config)
        task, seeds = tasks.training[0], config.seeds_on("confirmation")
        a_run = RunCost.of(config, task)
        works = size.works(plan, tasks, a_run, seeds)
        if config.seed is None:  # then which one is drawn when the study begins
            works = [named_by_family(work, task) for work in works]
        cost = study_cost(
            config, tasks.training, works, seeds,
            harvest=plan.harvest_experiments(a_run), stages=stages(plan), plan=plan.model_dump(mode="json"),
        )  # fmt: skip
        cost = with_writers(with_researcher(cost, config, task), config, plan.generations, plan.children)
        cost = cost.with_details(test=plan.test.line)
        learnt = in_words(config.knowledge, tasks.training) if config.knowledge else ""
        return cost.with_facts(
            power=power_of(plan, tasks.training, bool(cost.looks)),
            compared_with=reference_of(config, plan),
            ideas=untried_ideas(config, plan.origin, task),
            from_study=past_line(config.from_study) if config.from_study else "",
            **{"compared_with_learnt" if "learnt" in plan.final else "knowledge": learnt},
        )

    def settle(self, config: StudyConfig) -> StudyConfig:
        """The untested held-out task is drawn among those whose untouched script trains."""
        tasks = StudyTasks.of(config)
        tested = [task for task, is_tested in tasks.held_out if is_tested]
        if len(tested) == len(tasks.held_out):
            return config
        first, able = tasks.training[0], partial(trains, unsafe=not config.sandbox)
        untested = family_member(first, config.seed, able, [*tasks.training, *tested])
        held_out = [entry for entry in config.held_out if entry.tested]
        held_out += held_out_tasks(first, config.run_budget, [untested] if untested else [], tested=False)
        return config.model_copy(update={"held_out": held_out})

    def has_finished(self, study: Study) -> bool:
        return study.state.champion is not None

    def play(self, study: Study, plan: EvolvePlan, progress: Progress) -> None:
        play_evolution(study, plan, progress)

    def result(self, out: Output, study: Study, plan: EvolvePlan, applies: bool = False) -> Sequence[str]:
        study.follow()  # what the workers wrote
        ended = sum(run.ended is not None for run in study.state.runs.values())
        most = plan.planned_runs(study.public_config(), 0)
        if ended < most:
            out.note(f"{ended} of at most {most} runs: programs that behave alike, or were refused, add none")
        return show_study_result(out, study.folder, plan.path, applies)


def named_by_family(work: Work, first: Task) -> Work:
    """The work on an untested held-out task, by the family of the first task."""
    return replace(work, task=f"a member of the family of {first.name}") if work.use == size.UNTESTED else work


def power_of(plan: EvolvePlan, tasks: Sequence[Task], has_same_rows: bool) -> str:
    """What the confirmation can show: each run is a sample of the mean over the tasks, in one unit. ``has_same_rows``:
    all runs are measured on the same validation rows."""
    runs, more = len(tasks) * plan.final["champion"], 0
    of = "each of the champion and stock"
    if "own" in plan.final:
        of = "each of the champion and your program"
    elif "a/a" in plan.final:  # stock's second arm, pooled with the first
        more = len(tasks) * plan.final["a/a"]
        of = f"of the champion and {runs + more} of stock"
    sentence = power_sentence(runs, of=of, more=more, has_same_rows=has_same_rows)
    return f"confirmation over {len(tasks)} tasks: {sentence}" if len(tasks) > 1 else sentence


def user_program(config: StudyConfig, origin: str | None) -> Program | None:
    return next((program for program in starters_of(config) if program.program_id == origin), None)


def reference_of(config: StudyConfig, plan: EvolvePlan) -> str:
    """Which program the confirmation compares the champion with; empty where that is stock as always."""
    program = user_program(config, plan.origin)
    if program is None:
        return ""
    if "own" in plan.final:
        return f"your program, {program.name}; stock runs too, but is not part of the test"
    if program.name == "stock":
        return "stock"
    why = f"this researcher runs your program {program.name} exactly like it"
    if config.researcher == "scripted":
        why += ": a script reads its settings and the edits in backticks, not its prose (a model does: -m)"
    return f"stock, the plain keep-if-better loop, because {why}"


def untried_ideas(config: StudyConfig, origin: str | None, task: Task) -> str:
    """Which ideas of the user's program a script does not try, and what changes this; else empty."""
    program = user_program(config, origin)
    stated = [idea for idea in program.ideas if idea.terms] if program else []
    if program is None or config.researcher != "scripted" or not stated:
        return ""
    if not program.charter.has_queue:
        return QUEUE
    tried = {idea.directive_id for idea, _ in resolved_ideas(program, task)}
    lost = [idea for idea in stated if idea.directive_id not in tried]
    if not lost:
        return ""
    terms = " ".join(f"`{term}`" for term in lost[0].terms)
    return (
        f"a script tries {len(stated) - len(lost)} of the {many(len(stated), 'idea')} of your program: {terms} is no "
        f"edit of {task.name}; metaloop program lint says why"
    )


def stages(plan: EvolvePlan) -> list[dict[str, str]]:
    """What is played, with the runs of each program."""

    def runs(least: int, most: int) -> str:
        return f"{least} to {most}" if most > least else str(least)

    best = "the best, your program and stock" if "own" in plan.final else "the best and stock"
    rows = [("opening race", f"{plan.starters}, and stock (A/A)", runs(plan.opening.runs, plan.opening.more))]
    if plan.generations:
        bred = f"{plan.children} new, {plan.elites} old"
        rows.append((many(plan.generations, "generation"), bred, runs(plan.generation.runs, plan.generation.more)))
    rows.append(("confirmation", best, str(plan.final["champion"])))
    for role, programs in (
        ("without-ideas", "the best without its ideas"),
        ("start", "the program that it came from, if it was changed"),
        ("learnt", "one with ideas learnt on other tasks"),
        ("a/a", "stock again"),
        ("one-line", "a program of one sentence"),
    ):
        if role in plan.final:
            rows.append(("", programs, str(plan.final[role])))
    return [{"stage": stage, "programs": programs, "runs of each": count} for stage, programs, count in rows]


make = EvolveKind
