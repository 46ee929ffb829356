"""The kind `match`: several programs at equal budget, on each task of the study."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from analysis.verdict.power import LEVEL, RunSample, detectable
from analysis.wording import many
from arena.arms import Entry
from arena.standalone import RACE_RULE, alike, leader, match_on, play_entries, play_in_turns
from arena.study.settings import StudyConfig
from arena.study.setup import RunCost
from arena.study.study import Study
from arena.study.task_study import TaskStudy
from arena.work.executor import Progress
from meta.cli.study_result import show_league_result, show_match_result
from meta.kinds.contract import StudyKind
from meta.kinds.cost import Cost, Work, study_cost
from meta.kinds.model_costs import with_researcher
from meta.kinds.plans import MatchPlan, starters_of
from meta.kinds.power import TURN_NOTE, TURN_SCORE, TURN_SD, power_sentence
from meta.kinds.study_tasks import StudyTasks
from trainer.task import Task

if TYPE_CHECKING:
    from meta.cli.output import Output


class MatchKind(StudyKind[MatchPlan]):
    name = "match"
    plan_type = MatchPlan

    def cost(self, config: StudyConfig, plan: MatchPlan) -> Cost:
        tasks = StudyTasks.of(config).training
        if plan.turns:
            return cost_of_turns(config, plan, tasks)
        entries = entries_of(config, plan)
        arms = [len(alike(entries, task, config.researcher)) for task in tasks]
        a_run = RunCost.of(config, tasks[0])
        works = [Work.of(a_run.on(task), count * plan.runs) for task, count in zip(tasks, arms, strict=True)]
        cost = study_cost(config, tasks, works, config.verify_seeds)
        cost = with_researcher(cost, config, tasks[0])
        race = "the plan is the maximum; the race ends as soon as the best program is clear" if plan.race else ""
        return cost.with_facts(race=race, power=power_of(plan, arms[0], tasks, bool(cost.looks)))

    def has_finished(self, study: Study) -> bool:
        matches = matches_of(study)
        return len(matches) == 1 + len(study.config.further) and {*matches} <= study.state.ended_matches.keys()

    def play(self, study: Study, plan: MatchPlan, progress: Progress) -> None:
        if plan.turns:
            play_in_turns(study, starters_of(study.config), plan.runs, plan.blocks, progress)
            return
        batch, rule = (plan.race.batch, plan.race.rule) if plan.race else (None, RACE_RULE)
        play_entries(study, entries_of(study.config, plan), plan.runs, progress, batch, rule)

    def result(self, out: Output, study: Study, plan: MatchPlan, applies: bool = False) -> Sequence[str]:
        if plan.turns:
            return show_league_result(out, study.folder)
        following = show_match_result(out, study, matches_of(study))
        if plan.race:
            out.note(race_line(study, plan))
        return following


def cost_of_turns(config: StudyConfig, plan: MatchPlan, tasks: Sequence[Task]) -> Cost:
    """Of programs that take turns."""
    a_run, of_each = RunCost.of(config, tasks[0]), plan.runs * plan.blocks * len(tasks)
    cost = study_cost(config, tasks, [Work.of(a_run.on(task), plan.runs) for task in tasks], config.verify_seeds)
    turns = of_each * len(plan.turns)
    cost = with_researcher(cost, config, tasks[0], turns).with_details(turns=turns)
    pairs = math.comb(len(plan.turns), 2)
    least = detectable(RunSample(1.0, of_each), RunSample(1.0, of_each), level=LEVEL / pairs) or math.inf
    corrected = f", corrected for {pairs} pairs" if pairs > 1 else ""
    power = f"with {many(of_each, 'turn')} of each program, a difference of {least:.2f} SD is detected with 80% power"
    power += f"{corrected}: {least * TURN_SD / TURN_SCORE:.0%} of an average turn ({TURN_NOTE})"
    return cost.with_facts(power=power)


def matches_of(study: Study) -> list[str]:
    """Ids of the matches of the programs, one on each task as far as they have begun; not those of an ablation."""
    return [match_id for match_id, match in study.state.matches.items() if match.purpose in ("race", "run", "night")]


def entries_of(config: StudyConfig, plan: MatchPlan) -> list[Entry]:
    return [Entry(program, role) for program, role in zip(starters_of(config), plan.roles, strict=True)]


def power_of(plan: MatchPlan, arms: int, tasks: Sequence[Task], has_same_rows: bool) -> str:
    """What the match can show about two of its programs, with the runs of earlier studies."""
    if len(tasks) > 1:
        return f"on each task: {power_sentence(plan.runs, has_same_rows=has_same_rows)}"
    pairs = 1 if plan.added else math.comb(arms, 2) or 1
    first, second = (plan.runs + sum(len(earlier.arms[side].gains) for earlier in plan.added) for side in (0, 1))
    of = "per program"
    if plan.added:
        of = "of each of the two" if first == second else f"of the first and {second} of the second"
        of += "".join(f", {len(earlier.arms[0].gains)} of them in {earlier.study}" for earlier in plan.added)
    return power_sentence(first, pairs, of, second - first, has_same_rows)


def race_line(study: Study, plan: MatchPlan) -> str:
    """Which program leads a race at its end, and the chance that another one is better."""
    study.follow()  # what the workers wrote
    arm, doubt = leader(study, match_on(TaskStudy(study), entries_of(study.config, plan)))
    return (
        f"{arm.program.name} leads; the chance that another program is better by more than a tenth of the spread "
        f"between programs is {doubt:.0%}. Its measured gain is biased upwards by the selection; measure it again "
        "with fresh runs"
    )


make = MatchKind
