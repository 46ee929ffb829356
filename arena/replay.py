"""Replay of a run's kept commits: its final source and that without each of them, trained again under fresh seeds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from analysis.ledger.events import AblationEvent, ReplayEvent
from arena.drain import drained
from arena.executor import Executor, Progress
from arena.executors import at_work
from arena.jobs import MeasureJob
from arena.measuring import record_findings
from arena.study import Study
from arena.task_study import TaskStudy
from inner_loop.behaviour import with_patches
from inner_loop.events import ExperimentEvent
from programs.errors import Corrupt, UsageError
from programs.ids import content_id
from trainer.edits import Edit, EditError
from trainer.source import Source
from trainer.streams import Stream

STREAM: Stream = "selection"
Chosen = tuple[int, ...]  # commits in a source, in the order in which they were kept


@dataclass(frozen=True)
class Commit:
    """A kept experiment between the untouched source and the run's final one. ``program_id``: of the run."""

    experiment_id: str
    edit: Edit
    program_id: str


def commits_of(study: Study, run_id: str, final_source_id: str) -> list[Commit]:
    """The commits that made the final source of a run, oldest first.

    Raises UsageError for a run that kept nothing or whose edits are not declared ones, Corrupt where they do not lead
    to its final source.
    """
    events = {e.number: e for e in study.state.run(run_id).experiments.values()}
    final = next((e for e in events.values() if e.source_id == final_source_id), None)
    chain: list[ExperimentEvent] = []
    while final is not None and final.number and final.parent_number is not None:
        if final.source_id != final.parent_source_id:
            chain.insert(0, final)
        final = events.get(final.parent_number)
    if not chain:
        raise UsageError(f"run {run_id} kept no change, so there is no commit to replay")
    started = study.state.run(run_id).started
    commits = [Commit(e.experiment_id, e.edit, started.program_id if started else "") for e in chain]
    if not all(commit.edit for commit in commits):
        raise UsageError(
            f"run {run_id} kept free edits of its files, which cannot be replayed separately",
            hint="replay needs runs whose edits are the constants and patches that the task declares",
        )
    built, _ = built_of(study, commits, tuple(range(len(commits))))
    if built.source_id != final_source_id:
        raise Corrupt(f"run {run_id}: its kept edits do not give {final_source_id}")
    return commits


def built_of(study: Study, commits: Sequence[Commit], chosen: Chosen) -> tuple[Source, list[str]]:
    """(source, commits that do not apply there). A commit that needs another one which is left out is skipped."""
    source, skipped = study.task.baseline(), list[str]()
    edits = with_patches(study.task, study.program(commits[0].program_id)).edits
    for index in chosen:
        try:
            source = edits.apply(source, commits[index].edit)
        except EditError:
            skipped.append(commits[index].experiment_id)
    return source, skipped


def trainings(commits: int, seeds: int) -> list[tuple[Chosen, int]]:
    """(commits in the source, number of the seed), each once; seed by seed, so that a part is usable. The untouched
    source is what gains are measured against."""
    every = tuple(range(commits))
    sources = dict.fromkeys([(), every, *(tuple(i for i in every if i != gone) for gone in every)])
    return [(chosen, seed) for seed in range(seeds) for chosen in sources]


def training_seeds(study: Study, run_id: str, seeds: int) -> list[int]:
    return [study.streams.seed(STREAM, "replay", run_id, k) for k in range(seeds)]


def play_replay(
    study: Study, executor: Executor, run_id: str, commits: Sequence[Commit], count: int, progress: Progress
) -> str:
    """Record the plan of ``count`` fresh seeds, then do the trainings that the ledger does not have yet. Returns the id
    of the ablation."""
    ablation_id = content_id("x", run_id, "replay")
    seeds = training_seeds(study, run_id, count)
    write_down(study, ablation_id, run_id, commits, seeds)
    jobs: dict[str, tuple[Chosen, MeasureJob, list[str]]] = {}
    for number, (chosen, k) in enumerate(trainings(len(commits), count)):
        names = tuple(commits[i].experiment_id for i in chosen)
        if (names, seeds[k]) not in study.state.replays[ablation_id]:
            source, skipped = built_of(study, commits, chosen)
            job_id = f"replay {number + 1}"
            jobs[job_id] = chosen, MeasureJob(job_id, source.files, STREAM, seeds[k]), skipped
    left, on = len(jobs), TaskStudy(study)
    for result in executor.run([job for _, job, _ in jobs.values()]):
        chosen, job, skipped = jobs[result.job_id]
        (measured,) = result.measurements
        source_id = Source(job.files).source_id
        record_findings(on, measured, run_id=run_id, source_id=source_id, stream=STREAM)
        study.record(
            ReplayEvent(
                ablation_id=ablation_id,
                run_id=run_id,
                commits=tuple(commits[i].experiment_id for i in chosen),
                skipped=tuple(skipped),
                source_id=source_id,
                stream=STREAM,
                seed=measured.seed,
                status=measured.status,
                metric=measured.metric,
                reason=measured.reason,
                trust=measured.trust,
                device_seconds_spent=measured.spent_seconds,
                wall_seconds=measured.wall_seconds,
            )
        )
        left -= 1
        progress({"kind": "note", "text": f"{len(jobs) - left} of {len(jobs)}: {said(commits, chosen)}"})
    if left:
        raise drained(study)
    return ablation_id


def said(commits: Sequence[Commit], chosen: Iterable[int]) -> str:
    return ", ".join(commits[i].edit.label() for i in chosen) or "the untouched source"


def write_down(study: Study, ablation_id: str, run_id: str, commits: Sequence[Commit], seeds: Sequence[int]) -> None:
    """Record the plan before its first training; a plan with no more seeds than the last is not recorded again."""
    known = study.state.ablations.get(ablation_id)
    if known is not None and (known.seeds or 0) >= len(seeds):
        return
    study.record(
        AblationEvent(
            ablation_id=ablation_id,
            method="replay",
            run_id=run_id,
            task=study.task.name,
            stream=STREAM,
            factors=tuple(commit.experiment_id for commit in commits),
            seeds=len(seeds),
            planned_at=datetime.now(UTC).isoformat(),
            plan={
                "labels": [commit.edit.label() for commit in commits],
                "training_seeds": list(seeds),
            },
        )
    )


def replay_run(study: Study, run_id: str, commits: Sequence[Commit], seeds: int, progress: Progress) -> str:
    """The whole replay with an executor of its own; Ctrl-C drains it."""
    with at_work(study, progress) as executor:
        return play_replay(study, executor, run_id, commits, seeds, progress)
