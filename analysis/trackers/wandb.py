"""Weights & Biases, and Trackio, which has the same API: one run for each run, grouped by the purpose of its match."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from analysis.trackers.study import Files, Setting, Step, TrackedStudy
from programs.errors import UsageError


@dataclass(frozen=True)
class Sent:
    """A run as both tools take it. ``summary``: its figures (`run/…`, because a step has a `kept` too) and facts."""

    run_id: str
    name: str
    group: str
    config: Mapping[str, Setting]
    steps: Sequence[Step]
    summary: Mapping[str, str | float]
    succeeded: bool = True


def to_wandb(study: TrackedStudy, project: str, folder: Path, files: Files) -> str:
    """Offline unless WANDB_MODE=online."""
    wandb: Any = import_module("wandb")
    goal, mode = _new(folder / project), os.environ.get("WANDB_MODE", "offline")
    settings = wandb.Settings(silent=True, console="off", x_disable_stats=True, disable_git=True)
    how = {"project": project, "dir": str(goal), "mode": mode, "settings": settings, "reinit": "create_new"}
    for run in _sent(study):
        opened = wandb.init(id=run.run_id, name=run.name, group=run.group, config=dict(run.config), **how)
        for step in run.steps:
            time = {} if step.at is None else {"_timestamp": step.at}
            opened.log({**step.values, **step.words, **time}, step=step.number)
        opened.summary.update(dict(run.summary))
        opened.finish(exit_code=0 if run.succeeded else 1)
    if mode == "online":
        return f"W&B project {project}"
    return f"wandb leet {goal}/wandb, or to send them to your account: wandb sync {goal}/wandb/offline-run-*"


def to_trackio(study: TrackedStudy, project: str, folder: Path, files: Files) -> str:
    """A local database."""
    goal = _new(folder / project).resolve()
    os.environ["TRACKIO_DIR"] = str(goal)  # read when trackio is imported
    trackio: Any = import_module("trackio")
    with contextlib.redirect_stdout(io.StringIO()):  # it greets at every run
        for run in _sent(study):
            config = {**run.config, "run_name": run.name, "run_id": run.run_id}
            opened = trackio.init(project=project, name=run.name, group=run.group, config=config, embed=False)
            for step in run.steps:
                opened.log({**step.values, **step.words}, step=step.number)
            opened.log(dict(run.summary))
            opened.finish()
            trackio.context_vars.current_run.set(None)  # else it is finished once more when the process ends
    return f"TRACKIO_DIR={goal} trackio show --project {project}"


def _sent(study: TrackedStudy) -> Iterator[Sent]:
    config: dict[str, Setting]
    summary: dict[str, str | float]
    for run in study.runs:
        summary = {**{f"run/{key}": value for key, value in run.figures.items()}, **run.facts}
        config = {**run.settings, **run.facts}  # W&B groups by what is in the config
        group = str(run.settings.get("purpose", ""))
        yield Sent(run.run_id, run.name, group, config, run.steps, summary, run.succeeded)
    if study.verdict:
        config = {"study": study.study_id, **study.verdict}
        yield Sent("verdict", "verdict", "verdict", config, (), study.verdict)


def _new(folder: Path) -> Path:
    if folder.exists():
        raise UsageError(f"{folder} already exists", hint="delete it, or name another project: --project NAME")
    folder.mkdir(parents=True)
    return folder
