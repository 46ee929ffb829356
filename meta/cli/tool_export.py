"""``metaloop export --to TOOL``: a study in the tool that a team keeps its results in, at once or while it runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis.wording import many
from meta.cli import resolve
from meta.cli.output import Output
from meta.cli.status import running
from programs.errors import Corrupt, MetaloopError, NotFound, UsageError

if TYPE_CHECKING:
    from analysis.trackers import Files, Sender, TrackedStudy

FOLLOW_SECONDS = 2.0
REMARK_SECONDS = 30.0


def to_tool(out: Output, study: str | None, target: Path | None, to: str, follow: bool) -> None:
    """Write the study for a tool; with ``follow`` from its start until nothing works on it any more."""
    if target is None:
        named = study or "studies/NAME"
        raise UsageError(f"--to {to} writes a folder", hint=f"metaloop export {named} --to {to} -o logs/")
    if target.is_file():
        raise UsageError(f"{target} is a file", hint="name a folder: -o logs/")
    folder = awaited(out, study) if follow else resolve.study_folder(study, out)
    if to == "hf":
        to_hub(out, folder, target)
        return
    from analysis.trackers import TRACKERS, Sender, tracked

    sender = Sender(TRACKERS.get(to)(folder.resolve().name, target))

    def read() -> TrackedStudy:
        return tracked(folder, files_of(folder))

    try:
        if follow:
            send_while_running(out, folder, sender, read)
        sender.send(read())
    finally:
        sender.tracker.close()
    sent = f"sent {many(len(sender.sent), 'run')} with {many(sender.steps, 'experiment')}"
    out.note(f"{sent}; to look at them: {sender.tracker.where}")
    if out.mode == "json":
        out.json({"study": str(folder), "to": to, "runs": len(sender.sent), "experiments": sender.steps})


def to_hub(out: Output, folder: Path, target: Path) -> None:
    from analysis.hub_dataset import hub_dataset

    written = {str(path): rows for path, rows in hub_dataset(folder, target).items()}
    out.note(f"wrote {many(len(written), 'file')} to {target}")
    if out.mode == "json":
        out.json({"study": str(folder), "written": written})


def awaited(out: Output, study: str | None) -> Path:
    """The folder of the study, as soon as it has a ledger."""
    from analysis.study import ledger_folder

    said = False
    while True:
        try:
            folder = resolve.study_folder(study, out)
            ledger_folder(folder)
            return folder
        except NotFound:
            if not said:
                out.note(f"waiting for the study {study or ''}".strip() + " to start; Ctrl-C to give up")
            said = True
        time.sleep(FOLLOW_SECONDS)


def send_while_running(out: Output, folder: Path, sender: Sender, read: Callable[[], TrackedStudy]) -> None:
    """Send what is new, again and again, until a study that has begun is not at work. What is then left is not sent."""
    begun, failed, remark_at = False, False, 0.0
    while True:
        at_work = running(folder)  # before the ledger is read, so that nothing is written after the last reading
        try:
            study, failed = read(), False
        except Corrupt:  # once: a record that is being written is no damage
            if failed or not at_work:
                raise
            failed = True
            time.sleep(FOLLOW_SECONDS)
            continue
        begun = begun or at_work or bool(study.runs)
        if begun and not at_work:
            return
        sender.send(study, last=False)
        if time.monotonic() >= remark_at:
            sent = f"{many(len(sender.sent), 'run')} with {many(sender.steps, 'experiment')} sent so far"
            out.note(f"following {resolve.shown(folder)}: {sent}, {len(sender.ended)} verified")
            remark_at = time.monotonic() + REMARK_SECONDS
        time.sleep(FOLLOW_SECONDS)


def files_of(folder: Path) -> Callable[[Mapping[str, Any]], Files]:
    """Reads a run's program and the files that it ended with, as far as they are there."""
    from analysis.trackers import program_alone
    from arena.study import Study
    from arena.verify_study import final_source

    def files(row: Mapping[str, Any]) -> Files:
        program = program_alone(row)
        if row["final_source_id"]:
            for _ in range(2):  # the folders of runs move into an archive when the study ends
                try:
                    study = Study.open(folder, to_read=True)
                    if row["task"] == study.task.name:
                        return {**program, **dict(final_source(study, row["run_id"], row["final_source_id"]).files)}
                except (MetaloopError, OSError):
                    continue
        return program

    return files
