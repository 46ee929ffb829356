"""``metaloop export --to TOOL``: a study in the tool that a team keeps its results in."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from analysis.wording import many
from arena.lock import is_taken
from meta.cli import resolve
from meta.cli.output import Output
from programs.errors import MetaloopError, UsageError

if TYPE_CHECKING:
    from analysis.trackers.study import Files, TrackedRun

TOOLS = ("mlflow", "trackio", "wandb")


def to_tool(out: Output, study: str | None, target: Path | None, to: str, project: str | None) -> None:
    """Send the study to a new project of a tool, as it is now."""
    from analysis.trackers.mlflow import to_mlflow
    from analysis.trackers.study import client_errors, tracked
    from analysis.trackers.wandb import to_trackio, to_wandb

    if target is not None and target.is_file():
        raise UsageError(f"{target} is a file", hint="name a folder: -o logs/")
    folder = resolve.study_folder(study, out)
    sent = tracked(folder)
    name = project or sent.name
    steps = sum(len(run.steps) for run in sent.runs)
    send = {"mlflow": to_mlflow, "trackio": to_trackio, "wandb": to_wandb}[to]
    out.note(f"sending {many(len(sent.runs), 'run')} with {many(steps, 'experiment')}")
    with client_errors(to):
        where = send(sent, name, target or Path(to), files_of(folder))
    out.note(f"to look at them: {where}")
    if is_taken(folder):
        out.note("the study is still running; its later results were not sent")
    if out.mode == "json":
        counts = {"runs": len(sent.runs), "experiments": steps}
        out.json({"study": str(folder), "to": to, "project": name, **counts})


def files_of(folder: Path) -> Files:
    """Reads a run's program and the files that it ended with, as far as they are there."""
    from arena.study import Study
    from arena.verify_study import final_source

    def files(run: TrackedRun) -> Mapping[str, str]:
        there = {"program.md": run.text} if run.text else {}
        with suppress(MetaloopError, OSError):
            study = Study.open(folder, to_read=True)
            if run.final_source_id and run.task == study.task.name:
                there |= dict(final_source(study, run.run_id, run.final_source_id).files)
        return there

    return files
