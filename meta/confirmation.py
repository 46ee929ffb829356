"""The confirmation: the champion's last match, on a stream that nothing else has used."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from analysis.verdict.origin import ancestors
from arena.arms import Entry
from arena.executor import Executor, Progress
from arena.harvest import harvest
from arena.measuring import untouched_metrics
from arena.race import Allocation
from arena.study import Study
from arena.task_set import TaskSet
from arena.task_study import TaskStudy
from inner_loop.behaviour import resolved_ideas
from meta.claim import LEARNT, START, Against, Claim, claim, claim_over
from meta.kinds.plan import Plan
from meta.lineage import Lineage, admit
from meta.novelty import differ
from programs.edit import without_ideas
from programs.program import Program
from programs.shelf import starter
from trainer.streams import Stream

FINAL = ("confirmation", "reserve", "ablation", "night")  # purposes of the matches that select nothing


def confirm(
    tasks: TaskSet, executor: Executor, lineage: Lineage, champion: Program, plan: Plan, progress: Progress
) -> Claim:
    """Run the champion, stock, the champion without its ideas, the program it started from and the other controls
    once, on fresh run seeds."""
    entered = [*arms(tasks, champion, plan), *controls(tasks, champion, plan)]
    return play_final(tasks, executor, lineage, entered, plan, "confirmation", "confirmation", progress)


def best_scripts(tasks: TaskSet, executor: Executor, plan: Plan, progress: Progress) -> None:
    """After the confirmation: the harvest."""
    count = plan.harvest_experiments(tasks.tasks[0])
    for on in tasks if count else ():
        progress({"kind": "note", "text": f"searching for the best train.py on {on.task.name}"})
        harvest(on, executor, count)


def play_final(
    tasks: TaskSet,
    executor: Executor,
    lineage: Lineage,
    entered: Sequence[Entry],
    plan: Plan,
    label: str,
    purpose: Stream,
    progress: Progress,
) -> Claim:
    """Record the arms of a final match, the champion first, play it on each task, and compute the claim."""
    few = {
        "without-ideas": plan.ablation_runs,
        "a/a": plan.control_runs,
        "one-line": plan.control_runs,
        START: plan.start_runs,
        LEARNT: plan.learnt_runs,
    }
    matches = tasks.enter(label, entered, purpose=purpose, stream=purpose)
    runs = Allocation({arm.arm_id: few.get(arm.role, plan.confirm_runs) for arm in matches[0].arms})
    for entry in entered:
        parents = [entered[0].program.program_id]
        admit(tasks.study, lineage, entry.program, plan.generations, entry.role, parents, label)
    gains = [
        {arm.role: score.gains for arm, score in zip(match.arms, scores, strict=True)}
        for match, scores in zip(matches, tasks.play(executor, matches, runs, progress), strict=True)
    ]
    measured = [against(on, match.match_id) for on, match in zip(tasks, matches, strict=True)]
    if not tasks.several:
        return claim(gains[0], measured[0], (tasks.tasks[0].name, tasks.tasks[0].unit))
    return claim_over(list(zip(tasks.scales(), gains, measured, strict=True)))


def against(on: TaskStudy, match_id: str) -> Against:
    """The baseline metrics of the confirming match, and the share of verifications that succeeded, by role."""
    match = on.state.matches[match_id]
    roles = {arm.arm_id: arm.role for arm in match.arms}
    held: dict[str, list[bool]] = {role: [] for role in roles.values()}
    splits = set[str | None]()
    for event in on.state.verifications():
        if event.arm_id in roles:
            held[roles[event.arm_id]].append(event.status == "ok")
            splits.add(event.split)
    metrics = untouched_metrics(on.state, match.task, match.stream, splits)
    return Against(tuple(metrics), {role: sum(seen) / max(1, len(seen)) for role, seen in held.items()})


def arms(tasks: TaskSet, champion: Program, plan: Plan) -> list[Entry]:
    """The champion and stock, the user's own program if it is an arm and differs from the champion, and the champion
    without its ideas if these matter on any task."""
    entered = [Entry(champion, "champion"), Entry(starter("stock"), "control")]
    origin = tasks.study.config.plan.get("origin")
    if plan.own_arm and origin and not same_as(tasks, own := tasks.study.program(origin), champion):
        entered.append(Entry(own, "own"))
    bare = without_ideas(champion)
    if any(resolved_ideas(champion, task) for task in tasks.tasks) and differ(tasks, bare, champion):
        entered.append(Entry(bare, "without-ideas"))
    return entered


def controls(tasks: TaskSet, champion: Program, plan: Plan) -> Iterator[Entry]:
    """What no test uses: stock once more (A/A) and the one-line program; the champion's oldest ancestor, unless it is
    an arm of the announced test; and the program with ideas learnt on other tasks, where the study did not start from
    it. Programs that behave like another one are left out."""
    study, stock, one_line = tasks.study, starter("stock"), starter("one-line")
    if plan.control_runs:
        yield Entry(stock, "a/a")
        if differ(tasks, stock, one_line):
            yield Entry(one_line, "one-line")
    if plan.start_runs:
        parents = {program_id: row.parent_ids for program_id, row in study.state.programs.items()}
        knowledge = study.config.knowledge
        start = ancestors(champion.program_id, parents, knowledge.program_id if knowledge else None)[-1]
        program = study.program(start)
        is_arm = start in (champion.program_id, study.config.plan.get("origin"))
        if not is_arm and differ(tasks, program, champion) and differ(tasks, program, stock):
            yield Entry(program, START)
    apart = kept_apart(study, plan)
    if apart and differ(tasks, learnt := study.program(apart), champion):
        yield Entry(learnt, LEARNT)


def kept_apart(study: Study, plan: Plan) -> str | None:
    """The id of the program with learnt ideas that takes no part in the search, if there is one."""
    return study.config.knowledge.program_id if plan.learnt_runs and study.config.knowledge else None


def same_as(tasks: TaskSet, own: Program, champion: Program) -> str:
    """``champion`` or ``stock`` if the user's own program behaves like it; else empty."""
    if not differ(tasks, own, champion):
        return "champion"
    return "" if differ(tasks, own, starter("stock")) else "stock"
