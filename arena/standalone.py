"""A match on its own, outside any evolution: `metaloop match`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from analysis.statistics import mean_interval, posterior
from arena.arms import Arm, Entry, Match, TaskMatch, enter
from arena.match import play, scores
from arena.race import RACE_RULES, Allocation, Racer, RaceStart, in_doubt
from arena.study.study import Study
from arena.study.task_study import TaskStudy, tasks_of
from arena.work.executor import Progress
from arena.work.executors import at_work
from inner_loop.behaviour import behaviour_id
from inner_loop.contracts import TurnOrder
from programs.common.ids import content_id
from programs.program import Program
from trainer.task import Task

RACE_FIRST = 3  # docs/log/racing.md
RACE_RULE = "top-two"  # of `--race`


def play_entries(
    study: Study,
    entries: Sequence[Entry],
    runs: int,
    progress: Progress,
    batch: int | None = None,
    rule: str = RACE_RULE,
) -> list[Match]:
    """Play ``entries`` on each task of the study at equal budget, ``runs`` runs each; the same entries again resume the
    same matches.

    With ``batch`` they race by ``rule``: at most as many runs in total, ``batch`` at a time.
    """
    matches = []
    with at_work(study, progress) as executor:
        for entry in entries:
            study.admit(entry.program, generation=0, operator="entry")
        for task_study in tasks_of(study):
            match = match_on(task_study, entries)
            play(task_study, executor, match, racer(study, match, runs, batch, rule), progress)
            matches.append(match)
    return matches


def play_in_turns(
    study: Study, programs: Sequence[Program], lineages: int, blocks: int, progress: Progress
) -> list[Match]:
    """Play so many nights of the programs on each task of the study, with ``blocks`` turns of each program; the same
    programs again resume the same nights."""
    matches = []
    (first, *beside), order = programs, TurnOrder(blocks)
    label = "turns-" + content_id("", *(program.program_id for program in programs))
    with at_work(study, progress) as executor:
        for program in programs:
            study.admit(program, generation=0, operator="entry")
        for task_study in tasks_of(study):
            entries = [Entry(first, "night", tuple(beside), order)]
            name = f"{label}-{task_study.task.name}" if task_study.task_id else label
            match = enter(task_study, name, entries, purpose="night", stream="selection", generation=0)
            play(task_study, executor, match, Allocation({match.arms[0].arm_id: lineages}), progress)
            matches.append(match)
    return matches


def match_on(on: TaskStudy, entries: Sequence[Entry]) -> Match:
    """The match of the entries on one task of the study; beside the first, its label names the task."""
    arms = alike(entries, on.task, on.config.researcher)
    label = "match-" + content_id("", *(arm.program.program_id for arm in arms))
    label += f"-{on.task.name}" if on.task_id else ""
    purpose = "run" if len(arms) == 1 else "race"
    return enter(on, label, arms, purpose=purpose, stream="selection", generation=0)


def alike(entries: Sequence[Entry], task: Task, researcher: str) -> list[Entry]:
    """The entries on a task; those that make the researcher do the same are one arm, a control among them leaves."""
    groups: dict[str, list[Entry]] = {}
    for entry in entries:
        own = behaviour_id(entry.program, task, researcher) + ("a/a" if entry.role == "a/a" else "")
        groups.setdefault(own, []).append(entry)
    arms = []
    for group in groups.values():
        first = next((member for member in group if member.program.name == "stock"), group[0])
        also = [member.program.name for member in group if member is not first and member.role == "program"]
        arms.append(replace(first, program=replace(first.program, name=" = ".join([first.program.name, *also]))))
    return arms


def racer(study: Study, match: Match, runs: int, batch: int | None, rule: str = RACE_RULE) -> Racer:
    """Equal allocation, or a race with at most the same number of runs."""
    if batch is None:
        return Allocation({arm.arm_id: runs for arm in match.arms})
    first, arms = min(RACE_FIRST, runs), {arm.arm_id: arm.raced for arm in match.arms}
    most, keep = runs * sum(arms.values()), max(1, sum(arms.values()) // 2)
    more = first + (runs - first) * sum(arms.values()) // keep
    seed = study.streams.seed("search", "race", match.label)
    return RACE_RULES.get(rule)(RaceStart(arms, first, keep, more, most, batch, seed))


def leader(study: Study, match: Match) -> tuple[Arm, float]:
    """The arm with the highest posterior gain, and the probability that another is better by a relevant amount."""
    raced = [score for score in scores(TaskMatch(TaskStudy(study), match)) if score.raced and score.gains]
    scored = posterior([mean_interval(score.gains) for score in raced])
    first = max(range(len(raced)), key=lambda i: scored[i].shrunk.or_zero)
    return next(arm for arm in match.arms if arm.arm_id == raced[first].arm_id), in_doubt(scored)
