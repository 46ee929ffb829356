"""The kind `replay`: a run's final script, and that without each of its kept changes, trained with fresh seeds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from analysis.ledger.events import AblationEvent
from analysis.ledger.run_state import RunState
from analysis.wording import many
from arena.after.replay import Commit, built_of, commits_of, commits_of_import, needed, replay_run, trainings
from arena.audit.verify_study import run_of
from arena.study.settings import StudyConfig
from arena.study.study import Study
from arena.work.executor import Progress
from meta.cli.study_result import show_ablation_result
from meta.kinds.contract import StudyKind
from meta.kinds.cost import Cost, Work, study_cost, training_seconds
from meta.kinds.plans import ReplayPlan
from meta.kinds.study_tasks import StudyTasks
from programs.common.errors import UsageError
from trainer.task import Task

if TYPE_CHECKING:
    from meta.cli.output import Output
    from meta.ui.live import LiveStudy


class ReplayKind(StudyKind[ReplayPlan]):
    name = "replay"
    plan_type = ReplayPlan
    has_researcher = False
    goes_into_existing = True

    def cost(self, config: StudyConfig, plan: ReplayPlan) -> Cost:
        task = StudyTasks.of(config).training[0]
        count = len(trainings(plan.commits, plan.seeds))
        seconds = training_seconds(task, config.fixed_steps)
        work = Work(task.name, "", count, 1, seconds, count * seconds)
        cost = study_cost(config, [task], [work], plan.seeds)
        return cost.with_details(run_id=plan.run_id, commits=plan.commits, seeds=plan.seeds)

    def has_finished(self, study: Study) -> bool:
        run_id = self.read_plan(study.config).run_id  # others were added
        return any(event.run_id == run_id and has_ended(study, event) for event in study.state.ablations.values())

    def play(self, study: Study, plan: ReplayPlan, progress: Progress) -> None:
        commits, _ = kept_commits(study, plan.run_id, plan.source)
        replay_run(study, plan.run_id, commits, plan.seeds, progress)

    def added_to(self, study: Study) -> ReplayPlan | None:
        for event in reversed(study.state.ablations.values()):
            if event.run_id is not None and event.seeds is not None and not has_ended(study, event):
                return ReplayPlan(run_id=event.run_id, commits=len(event.factors), seeds=event.seeds)
        return None

    def runs_of(self, study: LiveStudy) -> list[RunState]:
        return []  # trainings belong to no run

    def result(self, out: Output, study: Study, plan: ReplayPlan, applies: bool = False) -> Sequence[str]:
        return show_ablation_result(out, study.folder, plan.run_id)


def has_ended(study: Study, event: AblationEvent) -> bool:
    wanted = trainings(len(event.factors), event.seeds or 0)
    return len(study.state.replays.get(event.ablation_id, ())) >= len(wanted)


def kept_commits(study: Study, run_id: str, source: str | None) -> tuple[list[Commit], int]:
    """(the kept changes of a run that its final script needs, the number of rows that it kept). ``source``: the folder
    of an import with the run. Raises UsageError for a run of the confirmation."""
    if source is not None:
        return imported_commits(Path(source), run_id, study.task)
    study.agree()
    run = run_of(study, run_id)
    if run.stream == "confirmation" and study.config.kind != "night":
        # attribution must not use the data that the claim is tested on
        hint = "name a run of a race: metaloop sql STUDY \"FROM runs WHERE stream = 'selection'\""
        raise UsageError(f"run {run_id} belongs to the confirmation, which attribution must not use", hint=hint)
    commits = commits_of(study, run_id, run.final_source_id)
    return needed(commits), len(commits)


def imported_commits(source: Path, run_id: str, task: Task) -> tuple[list[Commit], int]:
    """The same of an imported run, for a study that does not exist yet."""
    commits, kept = commits_of_import(source, run_id, task)
    return needed(commits), kept


def commit_lines(commits: Sequence[Commit], kept: int) -> list[str]:
    """Which kept rows are left out, and which changes are left out together."""
    lines = []
    if len(commits) < kept:
        why = "without a commit, whose commit does not change or fit the script, or which a later one replaces"
        lines.append(f"left out: {kept - len(commits)} of {many(kept, 'kept row')}, {why}")
    labels = {commit.experiment_id: commit.label for commit in commits}
    for number, commit in enumerate(commits):
        others = [i for i in range(len(commits)) if i != number]
        if needing := built_of(commits, others)[1]:
            lines.append(f"left out together: {commit.label}; {'; '.join(labels[each] for each in needing)}")
    return lines


make = ReplayKind
