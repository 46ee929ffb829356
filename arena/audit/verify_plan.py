"""What `metaloop verify` is about to train, and what that costs: for a source, a run, or the claim of a study."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from analysis.study import read_study
from arena.audit import embedded
from arena.audit.scratch import Say, secret_hash
from arena.audit.verify import Audit, How, verify_source
from arena.audit.verify_study import claim_of, run_of, runs_to_confirm, samples_of, spent_by, verify_run, verify_study
from arena.study.study import Study
from arena.work import sandbox
from programs.common.errors import NotFound, UsageError
from programs.common.files import read_beneath
from trainer.experiment import SOURCE_BYTES
from trainer.source import Source
from trainer.task import Task

SETUP = 6.0  # wall seconds: start of the workers, and the data


@dataclass(frozen=True)
class PlannedCheck:
    """A check before it starts. ``untrained``: further experiments, which cost launch and scoring only. ``study``: the
    one that names the task, which may come from someone else. ``runs_needed``: see `runs_to_confirm`."""

    task: Task
    how: How
    trainings: int
    untrained: int
    carry_out: Callable[[Say], Audit]
    study: Study | None = None
    runs_needed: int | None = None

    def cost(self) -> dict[str, Any]:
        """``share``: of what the study spent; ``runs_needed``: of each program, to confirm its lead."""
        task, untrained = self.task, self.untrained * embedded.can_be_untrained(self.task)
        launching = max(task.cost_seconds - task.budget_seconds, 0.02 * task.cost_seconds)
        seconds = self.trainings * task.cost_seconds + untrained * launching
        whole = spent_by(self.study) if self.study else 0.0
        return {
            "task": task.name,
            "experiments": self.trainings,
            "untrained": untrained,
            "device_seconds": round(seconds, 1),
            "share": round(seconds / whole, 4) if whole else None,
            "runs_needed": self.runs_needed,
            "workers": self.how.workers,
            "wall_seconds": round(seconds / self.how.workers + SETUP, 1),
            "sandbox": sandbox.said(task, self.how.sandbox),
            "secret_hash": secret_hash(self.how.streams),
        }


def plan_source(path: Path, task: Task, seeds: int, how: How) -> PlannedCheck:
    """Of a train.py that anyone may have written, as `read_source` finds it."""
    carry_out = partial(verify_source, task, read_source(path, task), seeds, how)
    return PlannedCheck(task, how, trainings_of(task, seeds), seeds, carry_out)


def plan_run(study: Study, run_id: str, seeds: int, how: How) -> PlannedCheck:
    """Of the final source of a run that has ended."""
    carry_out = partial(verify_run, study, run_of(study, run_id), seeds, how)
    return PlannedCheck(study.task, how, trainings_of(study.task, seeds), seeds, carry_out, study)


def plan_study(study: Study, runs: int, how: How) -> PlannedCheck:
    """Of the programs behind the claim of a study, ``runs`` of each at most."""
    with read_study(study.folder, views=["standings"]) as con:
        claim = claim_of(con)
    drawn = claim.sampled(study, runs, how)
    samples = samples_of(study, drawn)
    splits = max((sample.first + 1 for sample in samples), default=0) * study.task.draws_splits
    baselines = max(study.config.baseline_seeds, splits) + study.task.draws_splits
    carry_out = partial(verify_study, study, claim, drawn, how)
    trainings, untrained = len(samples) + baselines, sum(sample.ablate for sample in samples)
    return PlannedCheck(study.task, how, trainings, untrained, carry_out, study, runs_to_confirm(claim))


def trainings_of(task: Task, seeds: int) -> int:
    """Of a source and of the untouched one; where each seed has hidden rows of its own, one seed of each is also scored
    on the rows of another."""
    return 2 * (seeds + (task.draws_splits and seeds > 1))


def read_source(path: Path, task: Task) -> Source:
    """``path`` as the task's editable file of that name, else as the only one or train.py; the other files are from the
    same folder, else from the task.

    The file is untrusted: links are not followed, and at most the maximum size of a source is read. Raises UsageError
    where it could be several files.
    """
    if not path.is_file():
        raise NotFound(f"{path}: no such file", hint="name a train.py file")
    path, files, baseline = path.absolute(), task.editable, task.baseline()
    alike = [file for file in files if path.as_posix().endswith(f"/{file}")]
    alike = alike or [file for file in files if Path(file).name == path.name] or list(files)
    if len(alike) > 1 and "train.py" not in files:
        message = f"{path} has none of the names of the task's files: {', '.join(files)}"
        raise UsageError(message, hint="rename it to one of them")
    name = alike[0] if len(alike) == 1 else "train.py"
    root = path.parents[name.count("/")] if path.as_posix().endswith(f"/{name}") else path.parent
    paths = {file: file for file in files if (root / file).is_file()} | {name: os.path.relpath(path, root)}
    texts = {file: read_beneath(root, paths[file], SOURCE_BYTES).decode("utf-8", "replace") for file in paths}
    return Source(tuple((file, texts.get(file, baseline.text(file))) for file in files))
