"""A study of evolution and a night, played from wherever they stopped to their champion, with all their parts."""

from __future__ import annotations

from collections.abc import Sequence

from analysis.evidence.page_text import RowIds, page
from analysis.evidence.task_evidence import Evidence
from analysis.verdict.claim import Champion
from analysis.wording import many
from arena.after.harvest import HARVEST, harvest
from arena.after.replay import commits_of, needed, play_replay, trainings
from arena.study.stop import drain_on_interrupt
from arena.study.study import Study
from arena.study.task_set import TaskSet
from arena.work.executor import ClosingExecutor, Executor, Progress
from arena.work.executors import at_work, executor_of
from meta.champion import decide_evolution, decide_night, finish_study, recorded_decision
from meta.evolve import Writers, search
from meta.expected_gain import refusal_by_gain
from meta.kinds.plans import EvolvePlan, NightPlan
from meta.mutators.base import ModelMutator
from meta.mutators.llm.author import Author
from meta.night import night_result, play_turns
from meta.population import admit_starters
from meta.reserve import confirm_on_held_out

LEAST_SEEDS, MOST_SEEDS = 2, 64  # with which each change is left out


def play_evolution(study: Study, plan: EvolvePlan, progress: Progress) -> Champion:
    """Search, confirm, harvest, run on the held-out tasks, and write the champion. Raises Drained where a stop was
    requested."""
    writers, worth = with_pages(study, Author(study, plan.children, progress).writers), refusal_by_gain(study)
    with study, drain_on_interrupt(study, progress):
        with executor_of(study, progress) as executor:
            champion, claim = search(study, plan, executor, progress, writers=writers, worth=worth)
            search_scripts(TaskSet.of(study), plan, executor, progress)
        held_out = confirm_on_held_out(study, champion, claim, plan, progress)
        progress({"kind": "note", "text": "computing the verdict, its evidence and champion.md"})
        decision = recorded_decision(study) or decide_evolution(study, champion, claim, plan.origin, held_out)
        return finish_study(study, champion, decision, plan.origin)


def play_night(study: Study, plan: NightPlan, progress: Progress) -> Champion:
    """All programs take turns on one train.py, in one run; then `main` is measured, and what each program did. Raises
    Drained where a stop was requested."""
    with at_work(study, progress) as executor:
        admit_starters(study, plan.origin, later_turns=plan.turns[1:])
        play_turns(study, plan, executor, progress)
        leave_out_changes(study, plan, executor, progress)
        progress({"kind": "note", "text": "computing what each program contributed"})
        night = night_result(study, plan, Author(study, 1, progress).writers)
        parents = [night.parent.program_id]
        study.admit(night.following, generation=0, operator="next", parent_ids=parents)
        decision = recorded_decision(study) or decide_night(study, night, plan.origin)
        return finish_study(study, night.following, decision, plan.origin)


def leave_out_changes(study: Study, plan: NightPlan, executor: Executor, progress: Progress) -> None:
    """Train the last main of a night without each of its changes, with as many fresh seeds as the plan's device time
    pays for. Raises Drained."""
    best = study.state.harvests.get((study.task.name, HARVEST))
    if best is None or plan.ablation_seconds is None:
        return
    study.follow()  # what the workers wrote
    run_id = next(iter(study.state.runs))
    changes = needed(commits_of(study, run_id, best.source_id))
    trained = [
        experiment
        for experiment in study.state.run(run_id).experiments.values()
        if experiment.source_id == best.source_id
    ]
    sources = len(trainings(len(changes), 1))
    seeds = min(int(plan.ablation_seconds / (trained[0].device_seconds_charged * sources) + 1e-9), MOST_SEEDS)
    if seeds < LEAST_SEEDS:
        text = f"no time to leave out each of {many(len(changes), 'change')}: {many(sources * LEAST_SEEDS, 'training')}"
        progress({"kind": "note", "text": f"{text} would be needed"})
        return
    play_replay(study, executor, run_id, changes, seeds, progress)


def with_pages(study: Study, writers: Writers) -> Writers:
    """The same writers; the evidence of each generation is also written down, for people to read."""

    def write_page(generation: int, facts: Evidence) -> Sequence[ModelMutator]:
        folder = study.folder / "evidence"
        folder.mkdir(exist_ok=True)
        (folder / f"generation-{generation}.md").write_text(page(facts, RowIds(whole=True)), encoding="utf-8")
        return writers(generation, facts)

    return write_page


def search_scripts(tasks: TaskSet, plan: EvolvePlan, executor: ClosingExecutor, progress: Progress) -> None:
    """After the confirmation, the harvest: search for the best train.py of each task."""
    count = plan.harvest_experiments(tasks.studies[0].cost)
    for task in tasks if count else ():
        progress({"kind": "note", "text": f"searching for the best train.py on {task.task.name}"})
        harvest(task, executor, count)
