"""The confirmation: the champion's last match, on a stream that nothing else has used."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from analysis.study import read_study
from analysis.verdict.claim import Against, Claim, Gains, claim, claim_over
from analysis.verdict.origin import ancestors
from analysis.views.tables import statement
from arena.arms import Entry
from arena.measuring import untouched_metrics
from arena.race import Allocation
from arena.study.study import Study
from arena.study.task_set import TaskSet
from arena.study.task_study import TaskStudy
from arena.work.executor import Executor, Progress
from inner_loop.behaviour import resolved_ideas
from meta.kinds.plans import EvolvePlan, Role
from meta.novelty import differ
from programs.edit import without_ideas
from programs.program import Program
from programs.shelf import starter
from trainer.streams import Stream

FINAL = ("confirmation", "reserve", "ablation", "night")  # purposes of the matches that select nothing


def confirm(tasks: TaskSet, executor: Executor, champion: Program, plan: EvolvePlan, progress: Progress) -> Claim:
    """Run the champion, stock, the champion without its ideas, the program it started from and the other controls
    once, on fresh run seeds."""
    entries = [*arms(tasks, champion, plan), *controls(tasks, champion, plan)]
    return play_final(tasks, executor, entries, plan.final, plan.generations, "confirmation", "confirmation", progress)


def play_final(
    tasks: TaskSet,
    executor: Executor,
    entries: Sequence[Entry],
    runs: Mapping[Role, int],
    generation: int,
    label: str,
    purpose: Stream,
    progress: Progress,
) -> Claim:
    """Record the programs of a final match, the champion first, as of the last generation; play it on each task with
    the runs of each role, and compute the claim."""
    matches = tasks.enter(label, entries, purpose=purpose, stream=purpose)
    by_role: dict[str, int] = dict(runs.items())
    allocation = Allocation({arm.arm_id: by_role[arm.role] for arm in matches[0].arms})
    champion_id = entries[0].program.program_id
    for entry in entries:
        tasks.study.admit(entry.program, generation=generation, operator=entry.role, parent_ids=[champion_id])
    tasks.play(executor, matches, allocation, progress)
    samples = [final_samples(task, match.match_id) for task, match in zip(tasks, matches, strict=True)]
    if not tasks.several:
        return claim(*samples[0], (tasks.tasks[0].name, tasks.tasks[0].unit))
    return claim_over([(scale, *sample) for scale, sample in zip(tasks.scales(), samples, strict=True)])


def final_samples(task: TaskStudy, match_id: str) -> tuple[Gains, Against]:
    """What the announced test is made from: the gains of each role's runs, which the standings have, too, and what they
    were compared with."""
    with read_study(task.study.folder, views=()) as con:
        parameters = {"match": match_id}
        arms = con.execute(statement("verdict/tested_arms"), parameters).fetchall()
        splits = con.execute("SELECT DISTINCT split FROM verifications WHERE match_id = $match", parameters).fetchall()
    match = task.state.matches[match_id]
    metrics = untouched_metrics(task.state, match.task, match.stream, {split for (split,) in splits})
    touched = {role: float(share) for role, _, share in arms}
    return {role: gains for role, gains, _ in arms}, Against(tuple(metrics), touched)


def arms(tasks: TaskSet, champion: Program, plan: EvolvePlan) -> Iterator[Entry]:
    """The champion and stock, the user's own program if it is an arm and differs from the champion, and the champion
    without its ideas if these matter on any task."""
    yield Entry(champion, "champion")
    yield Entry(starter("stock"), "control")
    if "own" in plan.final and plan.origin:
        own_program = tasks.study.program(plan.origin)
        if not same_as(tasks, own_program, champion):
            yield Entry(own_program, "own")
    bare = without_ideas(champion)
    has_ideas = any(resolved_ideas(champion, task) for task in tasks.tasks)
    if "without-ideas" in plan.final and has_ideas and differ(tasks, bare, champion):
        yield Entry(bare, "without-ideas")


def controls(tasks: TaskSet, champion: Program, plan: EvolvePlan) -> Iterator[Entry]:
    """What no test uses: stock once more (A/A) and the one-line program; the champion's oldest ancestor, unless it is
    an arm of the announced test; and the program with ideas learnt on other tasks, where the study did not start from
    it. Programs that behave like another one are left out."""
    study, stock, one_line = tasks.study, starter("stock"), starter("one-line")
    if "a/a" in plan.final:
        yield Entry(stock, "a/a")
    if "one-line" in plan.final and differ(tasks, stock, one_line):
        yield Entry(one_line, "one-line")
    if "start" in plan.final:
        parents = {program_id: row.parent_ids for program_id, row in study.state.programs.items()}
        knowledge = study.config.knowledge
        start = ancestors(champion.program_id, parents, knowledge.program_id if knowledge else None)[-1]
        program = study.program(start)
        is_arm = start in (champion.program_id, plan.origin)
        if not is_arm and differ(tasks, program, champion) and differ(tasks, program, stock):
            yield Entry(program, "start")
    apart = kept_apart(study, plan)
    if apart and differ(tasks, learnt := study.program(apart), champion):
        yield Entry(learnt, "learnt")


def kept_apart(study: Study, plan: EvolvePlan) -> str | None:
    """The id of the program with learnt ideas that takes no part in the search, if there is one."""
    knowledge = study.config.knowledge
    return knowledge.program_id if knowledge and "learnt" in plan.final else None


def same_as(tasks: TaskSet, own: Program, champion: Program) -> str:
    """``champion`` or ``stock`` if the user's own program behaves like it; else empty."""
    if not differ(tasks, own, champion):
        return "champion"
    return "" if differ(tasks, own, starter("stock")) else "stock"
