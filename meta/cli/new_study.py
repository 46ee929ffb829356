"""What every command that makes a study reads from its options: tasks, folder, and how its runs are played."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from arena.setup import require_free
from meta.cli import resolve
from meta.cli.capacity import workers_of
from meta.cli.flags import PlayingFlags
from meta.cli.options import command_line
from programs.errors import UsageError
from trainer.task import Task
from trainer.variants import tasks_of

DEFAULT_TASK = "strokes"


def load_task(text: str | None) -> Task:
    """The task of ``--task`` (a name, a folder or a member of a family: ``tabular:7``), or the default task."""
    task, *others = tasks_of(text or DEFAULT_TASK)
    if others:
        raise UsageError(f"{text}: one task is needed, these are {1 + len(others)}", hint=f"--task {task.folder}")
    return task


def load_tasks(text: str | None) -> list[Task]:
    """The tasks of a comma-separated list, members of families included; empty where it was left out."""
    return [task for name in resolve.listed(text) for task in tasks_of(name)]


def existing_study(name: str | None) -> Path | None:
    """The folder of the study that ``--study`` names, in the current folder or under studies/; None for a new one."""
    for folder in (Path(name).expanduser(), resolve.STUDIES / name) if name else ():
        if (folder / resolve.MARK).is_file():
            return folder.resolve()
    return None


def new_folder(name: str | None, task: Task) -> Path:
    """The folder of a new study, absolute, because workers and experiments have other working folders.

    Raises UsageError where a study or something else is there.
    """
    if not name:
        return resolve.unused_folder(task.name).resolve()
    if study := existing_study(name):
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
