"""The commits of a branch that shows what a study found: one for each change that the search kept, in order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from analysis.wording import decimals, number, plain_text
from arena.study.run_archive import unpacked
from arena.study.study import Study
from inner_loop.behaviour import with_patches
from inner_loop.events import DecisionEvent, Experiment
from inner_loop.stored_sources import StoredSources
from programs.common.text import one_line
from trainer.source import Source
from trainer.task import Task


@dataclass(frozen=True)
class Commit:
    """The files that it changes, path → content, and its message."""

    files: Mapping[str, bytes]
    message: str


@dataclass(frozen=True)
class KeptChange:
    """An experiment that a run kept, its source, and the decision; the untouched source is the first one."""

    experiment: Experiment
    decision: DecisionEvent
    source: Source


def kept_changes(study: Study, untouched: Source, source_id: str) -> list[KeptChange]:
    """What leads from the untouched source to this final source of a run, which comes last; empty where no run of the
    study began with the one and ended with the other. Raises Corrupt where a source is not stored any more."""
    ended = (run_id for run_id, run in study.state.runs.items() if run.ended and run.ended.final_source_id == source_id)
    run_id = next(ended, "")
    run = study.state.run(run_id)
    if run.started is None:
        return []
    kept = {one for one, decision in run.decisions.items() if decision.decision in ("keep", "baseline")}
    by_number = {experiment.number: experiment for experiment in run.experiments.values()}
    found = (n for n, one in by_number.items() if one.experiment_id in kept and one.source_id == source_id)
    last, path = max(found, default=None), list[Experiment]()
    while last is not None:
        path.insert(0, by_number[last])
        last = by_number[last].parent_number
    if not path or path[0].source_id != untouched.source_id:
        return []
    changes, source = list[KeptChange](), untouched
    with unpacked(study.folder, run_id) as folder, StoredSources(folder) as stored:
        for experiment in path:
            program = study.program(experiment.program_id or run.started.program_id)
            source = stored.source_of(experiment, source, with_patches(study.task, program).edits)
            if experiment.experiment_id in kept:
                changes.append(KeptChange(experiment, run.decisions[experiment.experiment_id], source))
    return changes


def commits_of(changes: Sequence[KeptChange], task: Task, study: str, inside: Path) -> list[Commit]:
    """One commit for each change after the first; ``inside``: the folder of the task in the repository."""
    commits = list[Commit]()
    for before, change in pairwise(changes):
        texts = {name: text for name, text in change.source.files if before.source.text(name) != text}
        files = {str(inside / name): text.encode() for name, text in texts.items()}
        commits.append(Commit(files, change_message(before.experiment, change, task, study)))
    return commits


def change_message(before: Experiment, change: KeptChange, task: Task, study: str) -> str:
    """What was changed and the metric that the search measured, as subject; then the gain by which it was kept."""
    experiment, decision = change.experiment, change.decision
    before_metric, metric = before.metric or 0.0, experiment.metric or 0.0  # what is kept has one
    digits = decimals(abs(metric - before_metric))
    subject = one_line(experiment.description) or f"experiment {experiment.number}"
    subject += f" ({task.metric} {number(before_metric, digits)} → {number(metric, digits)})"
    text = f"Experiment {experiment.number} of study {study}, kept by the search."
    if decision.gain is not None:
        error = "" if decision.gain_se is None else f" ± {number(decision.gain_se, digits)} (standard error)"
        text += f"\nGain there: {number(decision.gain, digits)}{error} {task.unit}."
        text += " The change was chosen by this figure, which is therefore too large on average."
    return plain_text(f"metaloop: {subject}\n\n{text}\n")
