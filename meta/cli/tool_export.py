"""``metaloop export --to TOOL``: a study in the tool that a team keeps its results in."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from analysis.wording import many
from arena.lock import is_taken
from meta.cli import resolve
from meta.cli.output import Output
from programs.errors import MetaloopError, UsageError

if TYPE_CHECKING:
    from analysis.trackers import Files, RunSources

TOOLS = ("mlflow", "trackio", "wandb")
PROGRESS_SECONDS = 5.0


def to_tool(out: Output, study: str | None, target: Path | None, to: str, project: str | None) -> None:
    """Send the study to a new project of a tool, as it is now."""
    from analysis.trackers import TRACKERS, client_errors, send, tracked

    said_at = time.monotonic()

    def progress(sent: int) -> None:
        nonlocal said_at
        if time.monotonic() - said_at >= PROGRESS_SECONDS:
            out.note(f"sending {name}: {sent} of {many(len(sent_study.runs), 'run')}")
            said_at = time.monotonic()

    with tempfile.TemporaryDirectory(prefix="metaloop-export-") as spare:  # for copies of what goes to a server
        goal = folder_for(out, study, target, to) or Path(spare)
        tracker = TRACKERS.get(to)(goal)
        folder = resolve.study_folder(study, out)
        sent_study = tracked(folder, files_of(folder))
        name = project or sent_study.name
        with client_errors(to):
            send(tracker, sent_study, name, progress)
    steps = sum(len(run.decided) for run in sent_study.runs)
    amount = f"{many(len(sent_study.runs), 'run')} with {many(steps, 'experiment')}"
    out.note(f"sent {amount}; to look at them: {tracker.where}")
    if tracker.left_out:
        out.note(tracker.left_out)
    if is_taken(folder):
        out.note("the study is still running; its later results were not sent")
    if out.mode == "json":
        counts = {"runs": len(sent_study.runs), "experiments": steps}
        out.json({"study": str(folder), "to": to, "project": name, **counts})


def folder_for(out: Output, study: str | None, target: Path | None, to: str) -> Path | None:
    """The folder to write to; None where a server is named and no folder. Raises UsageError without either."""
    variable = {"mlflow": "MLFLOW_TRACKING_URI", "trackio": "TRACKIO_DIR", "wandb": "WANDB_MODE"}[to]
    named = os.environ.get(variable, "")
    if target is not None and target.is_file():
        raise UsageError(f"{target} is a file", hint="name a folder: -o logs/")
    if target is not None and named and to != "wandb":
        unused = f"-o {target}" if to == "mlflow" else variable
        out.note(f"{unused} is not used, because {variable if to == 'mlflow' else '-o'} names where the runs go")
    if target is not None or (named and to == "mlflow") or (named == "online" and to == "wandb"):
        return target
    if named and to == "trackio":
        return Path(named).expanduser()
    raise UsageError(f"--to {to} writes a folder", hint=f"metaloop export {study or 'studies/NAME'} --to {to} -o logs/")


def files_of(folder: Path) -> Callable[[RunSources], Files]:
    """Reads a run's program and the files that it ended with, as far as they are there."""
    from analysis.trackers import program_alone
    from arena.study import Study
    from arena.verify_study import final_source

    def files(run: RunSources) -> Files:
        program = program_alone(run)
        if run.final_source_id:
            for _ in range(2):  # the folders of runs move into an archive when the study ends
                try:
                    study = Study.open(folder, to_read=True)
                    if run.task == study.task.name:
                        return {**program, **dict(final_source(study, run.run_id, run.final_source_id).files)}
                except (MetaloopError, OSError):
                    continue
        return program

    return files
