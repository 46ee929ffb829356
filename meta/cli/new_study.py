"""What every command that makes a study reads from its options: tasks, folder, and how its runs are played."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from analysis.wording import duration, many
from arena.study.settings import MOST_WORKERS
from arena.study.setup import require_free
from meta.cli import resolve
from meta.cli.flags import PlayingFlags
from meta.cli.options import command_line
from meta.kinds.cost import Cost
from programs.common.errors import UsageError
from trainer.task import Task
from trainer.variants import tasks_of

DEFAULT_TASK = "strokes"
WORKERS_A_CORE, LEAST_MOST_WORKERS = 4, 8  # more workers are taken for a typing error


def load_task(text: str | None) -> Task:
    """The task of ``--task`` (a name, a folder or a member of a family: ``tabular:7``), or the default task."""
    task, *others = tasks_of(text or DEFAULT_TASK)
    if others:
        raise UsageError(f"{text}: one task is needed, these are {1 + len(others)}", hint=f"--task {task.folder}")
    return task


def load_tasks(text: str | None) -> list[Task]:
    """The tasks of a comma-separated list, members of families included; empty where it was left out."""
    return [task for name in resolve.listed(text) for task in tasks_of(name)]


def new_folder(name: str | None, task: Task) -> Path:
    """The folder of a new study, absolute, because workers and experiments have other working folders.

    Raises UsageError where a study or something else is there.
    """
    if not name:
        return resolve.unused_folder(task.name).resolve()
    if study := resolve.existing_study(name):
        raise UsageError(f"{resolve.shown(study)} exists", hint=f"metaloop resume {resolve.typed(study)}")
    folder = Path(name).expanduser().resolve()
    require_free(folder)
    return folder


def playing_settings(flags: PlayingFlags, tasks: Sequence[Task]) -> dict[str, Any]:
    """The fields of a `StudySetup` that say how runs are played. Raises UsageError as `workers_on`."""
    devices = flags.devices_per_run or 1
    return {
        "workers": workers_on(tasks, flags.workers, devices), "devices": devices, "seed": flags.seed,
        "fixed_steps": flags.fixed_steps, "sandbox": not flags.no_sandbox, "line": command_line(),
    }  # fmt: skip


def workers_on(tasks: Sequence[Task], requested: int | None, devices: int) -> int:
    """Number of runs at a time: as `workers_of`; one where a metric is a time. UsageError for more than that."""
    timed = next((task.name for task in tasks if task.timed), "")
    if timed and (requested or 1) * devices > 1:
        why = f"{timed}: its metric is a time, so only one experiment runs at a time"
        raise UsageError(why, hint="leave out -j and devices_per_run")
    return 1 if timed else workers_of(requested, devices)


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def workers_of(requested: int | None, devices: int = 1) -> int:
    """Number of worker processes, one run each: the requested number, or one for every ``devices`` cores.

    Raises UsageError for more than this machine can carry.
    """
    available = cores()
    most = min(MOST_WORKERS, max(LEAST_MOST_WORKERS, WORKERS_A_CORE * available))
    machine = f"this machine has {many(available, 'core')}"
    if requested is not None and requested > most:
        hint = f"-j {available}; more workers than cores are not faster, and each loads torch"
        raise UsageError(f"-j {requested}: {machine}, {most} workers at most", hint=hint)
    workers = requested or max(1, available // devices)
    if devices > most or workers * devices > most:
        raise UsageError(
            f"{many(workers, 'run')} at a time on {many(devices, 'device')} each: {machine}, {most} experiments at a "
            "time at most",
            hint="lower -j or --set devices_per_run=N; each device loads torch",
        )
    return workers


def wall(cost: Cost) -> str:
    """``16.8s with 2 workers``, on an idle machine; the time of models and agents cannot be predicted."""
    text = f"{duration(cost.wall_seconds)} with {many(cost.workers, 'worker')}"
    return f"{text}, plus the time of models and agents" if cost.details.get("researcher") else text
