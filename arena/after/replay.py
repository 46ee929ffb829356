"""Replay of a run's kept changes: its final source and that without each of them, trained again under fresh seeds.

A run is one of a study, or an imported one, whose kept rows are commits of a repository.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from analysis.imports.repository import opened
from analysis.imports.table import UnreadableLog
from analysis.ledger.events import AblationEvent, MatchEndedEvent, ReplayEvent
from analysis.study import read_study
from analysis.views.tables import statement
from arena.arms import enter
from arena.match import announcement
from arena.measuring import recorded, train
from arena.study.run_archive import unpacked
from arena.study.study import Study
from arena.study.task_study import TaskStudy
from arena.work.executor import Executor, Progress
from arena.work.executors import at_work
from arena.work.jobs import MeasureJob, Measurement
from inner_loop.behaviour import with_patches
from inner_loop.events import Experiment, RunEndedEvent, RunStartedEvent
from inner_loop.merge import merge
from inner_loop.stored_sources import StoredSources
from programs.common.errors import Corrupt, NotFound, UsageError
from programs.common.ids import content_id
from programs.common.text import one_line
from trainer.edits import Edit, EditError, EditSpace
from trainer.source import Source
from trainer.streams import Stream
from trainer.task import Task

STREAM: Stream = "selection"
IMPORT_AGAIN = "import the log again, with a column of commits: metaloop import LOG --set repository=DIR"
OTHER_RUN = "name a run that kept changes: metaloop sql STUDY 'FROM runs WHERE kept > 0'"
LABEL = 160  # characters
Chosen = tuple[int, ...]  # commits in a source, in the order in which they were kept


@dataclass(frozen=True)
class Commit:
    """A kept change. ``edit``: the declared one of ``edits`` that it is; the empty edit for any other change of the
    text."""

    experiment_id: str
    text: str  # what the researcher said of it
    before: Source
    after: Source
    edit: Edit
    edits: EditSpace

    @property
    def label(self) -> str:
        return self.edit.label() if self.edit else one_line(self.text)[:LABEL] or self.experiment_id

    def on(self, source: Source) -> Source | None:
        """The change made to another source; None where it does not apply, as a change that needs another one."""
        if not self.edit:
            return merge(self.before, source, self.after)
        try:
            return self.edits.apply(source, self.edit)
        except EditError:
            return None


def commits_of(study: Study, run_id: str, final_source_id: str, untouched: Source | None = None) -> list[Commit]:
    """The commits that made the final source of a run, oldest first. ``untouched``: what the run began with, if that is
    not what the task's folder has now.

    Raises UsageError for a run that kept nothing, Corrupt where they do not lead to its final source.
    """
    run = study.state.run(run_id)
    events = {e.number: e for e in run.experiments.values()}
    final = next((e for e in events.values() if e.source_id == final_source_id), None)
    chain: list[Experiment] = []
    while final is not None and final.number and final.parent_number is not None:
        if final.source_id != final.parent_source_id:
            chain.insert(0, final)
        final = events.get(final.parent_number)
    if not chain or run.started is None:
        raise UsageError(f"run {run_id} kept no change", hint=OTHER_RUN)
    source, commits = untouched or study.task.baseline(), list[Commit]()
    with unpacked(study.folder, run_id) as folder, StoredSources(folder) as sources:
        for e in chain:
            edits = with_patches(study.task, study.program(e.program_id or run.started.program_id)).edits
            after = sources.source_of(e, source, edits)
            commits.append(Commit(e.experiment_id, e.description, source, after, e.edit, edits))
            source = after
    if built_of(commits, range(len(commits)))[0].source_id != final_source_id:
        raise Corrupt(f"run {run_id}: its kept edits do not give {final_source_id}")
    return commits


def commits_of_import(folder: Path, run_id: str, task: Task) -> tuple[list[Commit], int]:
    """(the kept changes of an imported run to the task's editable files, oldest first; the number of its kept rows).

    A row is left out if the repository lacks its commit, or if the commit changes none of these files or does not apply
    to what was kept before. Raises UsageError or NotFound.
    """
    with read_study(folder, views=()) as con:
        rows = con.execute(statement("other/kept_rows"), {"run_id": run_id}).fetchall()
    if not rows:
        raise UsageError(f"run {run_id} kept no change", hint=OTHER_RUN)
    repository = next((repository for _, _, name, repository, _ in rows if name and repository), None)
    if repository is None:
        raise UsageError(f"no kept row of run {run_id} has a commit in a repository{rows[0][-1]}", hint=IMPORT_AGAIN)
    home, root = Path(task.repository or task.folder).resolve(), Path(repository).resolve()
    inside = home.relative_to(root) if home.is_relative_to(root) else Path()
    paths = [(inside / name).as_posix() for name in task.editable]
    commits = list[Commit]()
    try:
        with opened(root) as repo:
            for identity, text, name, *_ in rows:
                ends = repo.files_around(name or "", paths)
                if ends is not None:
                    before, after = (Source(tuple(zip(task.editable, texts, strict=True))) for texts in ends)
                    commits.append(Commit(identity, text or "", before, after, Edit(), task.edits))
    except UnreadableLog as error:
        raise NotFound(f"{root}: {error}", hint=IMPORT_AGAIN) from None
    if not any(text for commit in commits for _, text in commit.after.files):
        hint = f"--task names the task of this repository: metaloop task init --from {root}"
        raise UsageError(f"the commits of run {run_id} lack {', '.join(task.editable)}", hint=hint)
    _, skipped = built_of(commits, range(len(commits)))
    commits = [c for c in commits if c.before != c.after and c.experiment_id not in skipped]
    if not commits:
        hint = "--task names the task that the run was made on"
        raise UsageError(f"no commit that run {run_id} kept changes {', '.join(task.editable)}", hint=hint)
    return commits, len(rows)


def built_of(commits: Sequence[Commit], chosen: Iterable[int]) -> tuple[Source, list[str]]:
    """(source, commits that do not apply there). A commit that needs another one which is left out is skipped."""
    source, skipped = commits[0].before, list[str]()
    for index in chosen:
        changed = commits[index].on(source)
        if changed is None:
            skipped.append(commits[index].experiment_id)
        else:
            source = changed
    return source, skipped


def needed(commits: Sequence[Commit]) -> list[Commit]:
    """Without those that a later one replaces, as two values of one setting: the final source is the same without."""
    untouched, left = commits[0].before, list(commits)
    final, _ = built_of(commits, range(len(commits)))
    for commit in commits:
        rest = [other for other in left if other is not commit]
        rest[:1] = [replace(other, before=untouched) for other in rest[:1]]
        if rest and built_of(rest, range(len(rest))) == (final, []):
            left = rest
    return left


def trainings(commits: int, seeds: int) -> list[tuple[Chosen, int]]:
    """(commits in the source, number of the seed), each once; seed by seed, so that a part is usable. The untouched
    source is what gains are measured against."""
    every = tuple(range(commits))
    sources = dict.fromkeys([(), every, *(tuple(i for i in every if i != missing) for missing in every)])
    return [(chosen, seed) for seed in range(seeds) for chosen in sources]


def play_replay(
    study: Study, executor: Executor, run_id: str, commits: Sequence[Commit], count: int, progress: Progress
) -> str:
    """Record the plan of ``count`` fresh seeds, then do the trainings that the ledger does not have yet. Returns the id
    of the run."""
    ablation_id = content_id("x", run_id, "replay")
    seeds = [study.streams.seed(STREAM, "replay", run_id, k) for k in range(count)]
    if study.state.run(run_id).started is None:
        announce_import(study, run_id)
    write_down(study, ablation_id, run_id, commits, seeds)
    known, planned = study.state.replays[ablation_id], trainings(len(commits), count)
    sources = {chosen: built_of(commits, chosen) for chosen in dict.fromkeys(chosen for chosen, _ in planned)}
    keys = {(names_of(commits, chosen), seeds[k]): chosen for chosen, k in planned}
    drawn = study.task.draws_splits  # each seed has hidden rows of its own, which its sources share
    splits = {seed: f"replay {run_id} {k}" if drawn else "" for k, seed in enumerate(seeds)}
    wanted = {
        key: MeasureJob(f"replay {number}", sources[chosen][0].files, STREAM, key[1], split=splits[key[1]])
        for number, (key, chosen) in enumerate(keys.items(), 1)
    }
    if drawn:
        TaskStudy(study).make_splits(STREAM, splits.values())
    done, lacking = itertools.count(1), sum(key not in known for key in wanted)

    def event(key: tuple[tuple[str, ...], int], measured: Measurement) -> ReplayEvent:
        chosen = keys[key]
        source, skipped = sources[chosen]
        progress({"kind": "note", "text": f"{next(done)} of {lacking}: {said(commits, chosen)}"})
        return ReplayEvent(
            ablation_id=ablation_id,
            run_id=run_id,
            commits=key[0],
            skipped=tuple(skipped),
            source_id=source.source_id,
            stream=STREAM,
            split=splits[key[1]] or None,
            **recorded(measured),
        )

    train(TaskStudy(study), executor, wanted, known, event)
    return run_id


def names_of(commits: Sequence[Commit], chosen: Chosen) -> tuple[str, ...]:
    return tuple(commits[i].experiment_id for i in chosen)


def said(commits: Sequence[Commit], chosen: Chosen) -> str:
    left_out = [commit.label for i, commit in enumerate(commits) if i not in chosen]
    return f"without {left_out[0]}" if chosen and left_out else "the final script" if chosen else "the untouched source"


def announce_import(study: Study, run_id: str) -> None:
    """Record an imported run and its task before the plan, as the views need them."""
    task_study = TaskStudy(study)
    match = enter(task_study, f"import {run_id}", (), purpose="ablation", stream=STREAM)
    study.record(announcement(task_study, match))
    study.record(MatchEndedEvent(match_id=match.match_id, state="imported"))
    study.record(RunStartedEvent(
        task=study.task.name, device_seconds_budget=0.0, run_id=run_id, match_id=match.match_id, arm_id="",
        program_id="", run_seed=0, stream=STREAM, researcher="import",
    ))  # fmt: skip
    study.record(RunEndedEvent(
        run_id=run_id, state="imported", charged=0.0, spent=0.0, final_source_id="", claimed_best=None,
        claimed_gain=None,
    ))  # fmt: skip


def write_down(study: Study, ablation_id: str, run_id: str, commits: Sequence[Commit], seeds: Sequence[int]) -> None:
    """Record the plan before its first training; one of the same changes with no more seeds is not recorded again."""
    known, factors = study.state.ablations.get(ablation_id), tuple(commit.experiment_id for commit in commits)
    if known is not None and (known.seeds or 0) >= len(seeds) and tuple(known.factors) == factors:
        return
    study.record(
        AblationEvent(
            ablation_id=ablation_id,
            method="replay",
            run_id=run_id,
            task=study.task.name,
            stream=STREAM,
            factors=factors,
            seeds=len(seeds),
            planned_at=datetime.now(UTC).isoformat(),
            plan={"labels": [commit.label for commit in commits], "training_seeds": list(seeds)},
        )
    )


def replay_run(study: Study, run_id: str, commits: Sequence[Commit], seeds: int, progress: Progress) -> str:
    """The whole replay with an executor of its own; Ctrl-C drains it."""
    with at_work(study, progress) as executor:
        return play_replay(study, executor, run_id, commits, seeds, progress)
