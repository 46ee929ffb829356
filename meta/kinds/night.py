"""The kind `night`: programs take turns on one train.py, in one run; then `main` is trained again with fresh seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from analysis.wording import duration, many
from arena.study.settings import StudyConfig
from arena.study.setup import RunCost
from arena.study.study import Study
from arena.work.executor import Progress
from inner_loop.contracts import NIGHT_RULES
from inner_loop.night import NOTHING_LEFT
from meta.cli.study_result import show_study_result
from meta.kinds.contract import StudyKind
from meta.kinds.cost import Cost, Work, study_cost
from meta.kinds.evolve import untried_ideas
from meta.kinds.model_costs import with_researcher, with_writers
from meta.kinds.plans import NightPlan, starters_of
from meta.kinds.play_study import play_night
from meta.kinds.size import final_cost, night_seconds
from meta.kinds.study_tasks import StudyTasks
from meta.learnt import in_words
from meta.night import night_is_short
from programs.common.text import listed
from programs.program import Program

if TYPE_CHECKING:
    from meta.cli.output import Output


class NightKind(StudyKind[NightPlan]):
    name = "night"
    plan_type = NightPlan
    can_apply = True

    def cost(self, config: StudyConfig, plan: NightPlan) -> Cost:
        [task], seeds = StudyTasks.of(config).training, config.seeds_on("confirmation")
        a_run = RunCost.of(config, task)
        work = Work.of(final_cost(a_run, seeds), 1, night_seconds(a_run, seeds))
        start = ""
        if plan.main_seconds and config.from_study:
            work = from_main(work, a_run, seeds, plan.main_seconds)
            start = f"main of {config.from_study.folder}; a training of it takes {duration(plan.main_seconds)}, one of "
            start += f"the untouched script {duration(task.cost_seconds)}"
        if plan.ablation_seconds:
            work = replace(work, device_seconds=work.device_seconds + plan.ablation_seconds)
        measured = {
            "stage": "measurement",
            "programs": "main, and the untouched files",
            "runs of each": many(seeds, "training"),
        }
        turns = {"stage": "one night", "programs": "by turns on one train.py", "runs of each": "1"}
        stages = [turns, measured]
        if seconds := plan.ablation_seconds:
            without = {"stage": "leave-one-out", "programs": "main without each of its changes"}
            stages.append(without | {"runs of each": duration(seconds)})
        cost = study_cost(config, [task], [work], seeds, stages=stages, plan=plan.model_dump(mode="json"))
        cost = with_writers(with_researcher(cost, config, task), config, 1, 1)
        cost = cost.with_details(test=plan.test.line)
        shows = (
            "so short a night does not show" if night_is_short(task, config.run_budget) else "one night hardly shows"
        )
        return cost.with_facts(
            power=f"{shows} which program is better",
            turns=turns_line(config, plan),
            rules=unused_rules(turns_of(config, plan)),
            ideas=untried_ideas(config, plan.origin, task),
            knowledge=in_words(config.knowledge, [task]) if config.knowledge else "",
            start=start,
        )

    def has_finished(self, study: Study) -> bool:
        return study.state.champion is not None

    def play(self, study: Study, plan: NightPlan, progress: Progress) -> None:
        play_night(study, plan, progress)

    def result(self, out: Output, study: Study, plan: NightPlan, applies: bool = False) -> Sequence[str]:
        study.follow()  # what the workers wrote
        reasons = [run.ended.reason for run in study.state.runs.values() if run.ended is not None]
        if reasons and reasons[0] == NOTHING_LEFT:
            out.note(f"the night ended early: {reasons[0]}")
            if study.config.researcher == "scripted":
                out.note("more settings and values in task.toml give it more to try,")
                out.note("and a model or an agent (-m, -r) can try what is in no list")
        return show_study_result(out, study.folder, plan.path, applies)


def from_main(work: Work, a_run: RunCost, seeds: int, main_seconds: float) -> Work:
    """The work of a night whose trainings take as long as those of the `main` that it begins with."""
    longer = seeds * (main_seconds - a_run.task.cost_seconds)
    experiments = max(1, int(a_run.run_budget / main_seconds))
    return replace(work, experiments=experiments, device_seconds=work.device_seconds + longer)


def turns_of(config: StudyConfig, plan: NightPlan) -> list[Program]:
    programs = {program.program_id: program for program in starters_of(config)}
    return [programs[program_id] for program_id in plan.turns]


def turns_line(config: StudyConfig, plan: NightPlan) -> str:
    """The programs of a night, in the order of their first turns."""
    turns = turns_of(config, plan)
    names = listed(
        [f"{program.name} (yours)" if program.program_id == plan.origin else program.name for program in turns],
        len(turns),
    )
    if plan.origin not in plan.turns:
        names += "; a script can follow nothing in your program, so it has no turns (a model follows prose: -m)"
    return names


def unused_rules(programs: Sequence[Program]) -> str:
    """The settings of the programs that a night does not use, because it has rules of its own for them."""
    fields = {name.partition(".")[0] for program in programs for name in program.settings.set_fields}
    unused = sorted(fields & {*NIGHT_RULES})
    return f"a night has its own for {listed(unused, len(unused))}" if unused else ""


make = NightKind
