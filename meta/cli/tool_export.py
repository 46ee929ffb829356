"""``metaloop export --to TOOL``: a study in the tool that a team keeps its results in, at once or while it runs."""

from __future__ import annotations

import os
import shlex
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from analysis.wording import many
from arena.lock import is_taken
from arena.settings import StudyConfig
from meta.cli import resolve
from meta.cli.board import load_board
from meta.cli.options import flag
from meta.cli.output import Output
from meta.cli.status import item_of
from programs.errors import Corrupt, MetaloopError, NotFound, UsageError

if TYPE_CHECKING:
    from analysis.trackers import Files, RunSources, Sender, TrackedStudy

FOLLOW_SECONDS = 2.0
RESUME_SECONDS = 60.0  # a study may be resumed by a command that was typed at the same time
REMARK_SECONDS = 30.0
PROGRESS_SECONDS = 5.0
FOLLOWED = ("mlflow", "tensorboard", "trackio", "wandb")
RESUMED = ("evolve", "improve", "match", "run", "transfer", "ablate")


@dataclass(frozen=True)
class ToolFlags:
    """How a study is sent to a tool."""

    follow: Annotated[bool, flag("mlflow, trackio, wandb, tensorboard: export until the study ends.")]
    project: Annotated[
        str | None,
        flag(
            "tools: name of the experiment or project  [default: the study's name, with its id if another study "
            "has this name].",
            metavar="NAME",
        ),
    ] = None


def to_tool(out: Output, study: str | None, target: Path | None, to: str, flags: ToolFlags) -> None:
    """Write the study for a tool; with ``follow`` from its start until nothing works on it any more."""
    with tempfile.TemporaryDirectory(prefix="metaloop-export-") as spare:  # for copies of what goes to a server
        goal = folder_for(out, study, target, to) or Path(spare)
        folder = None if flags.follow else resolve.study_folder(study, out)
        if to == "hf" and folder:
            to_hub(out, folder, goal)
            return
        from analysis.trackers import TRACKERS, Sender, client_errors, retries_said

        tracker = TRACKERS.get(to)(goal)
        with client_errors(f"{to} ({tracker.address or goal})"), retries_said(out.note):
            export = ToolExport(out, folder or awaited(out, study), to, goal, flags, Sender(tracker))
            export.send_all()


def folder_for(out: Output, study: str | None, target: Path | None, to: str) -> Path | None:
    """The folder to write to; None where a server is named and no folder. Raises UsageError without either."""
    variable = {"mlflow": "MLFLOW_TRACKING_URI", "trackio": "TRACKIO_DIR", "wandb": "WANDB_MODE"}.get(to, "")
    named = os.environ.get(variable, "")
    if target is not None and target.is_file():
        raise UsageError(f"{target} is a file", hint="name a folder: -o logs/")
    if target is not None and named and to != "wandb":
        unused = f"-o {target}" if to == "mlflow" else variable
        out.note(f"{unused} is not used, because {variable if to == 'mlflow' else '-o'} names where the runs go")
    if target is None and to == "trackio" and named:
        return Path(named).expanduser()
    if target is None and not (named and to == "mlflow") and not (named == "online" and to == "wandb"):
        given = study or "studies/NAME"
        raise UsageError(f"--to {to} writes a folder", hint=f"metaloop export {given} --to {to} -o logs/")
    return target


@dataclass
class ToolExport:
    """One study on its way to one tool."""

    out: Output
    folder: Path
    to: str
    goal: Path
    flags: ToolFlags
    sender: Sender
    project: str = ""
    said_at: float = 0.0

    def read(self) -> TrackedStudy:
        """The study as it is now; as soon as it has an id, its project is chosen."""
        from analysis.trackers import InFolder, project_for, tracked

        tracker = self.sender.tracker
        try:
            study = tracked(self.folder, files_of(self.folder))
        except RuntimeError as error:  # DuckDB's, of a Ctrl-C within a query
            if "interrupted" in str(error).lower():
                raise KeyboardInterrupt from error
            raise
        if study.study_id and not self.project:
            self.project = project_for(tracker, study, self.flags.project)
            if self.project not in (study.name, self.flags.project):
                self.out.note(f"a project {study.name} has other runs there, so this study is sent as {self.project}")
            if isinstance(tracker, InFolder) and not tracker.updates:
                tracker.claim(self.project)
            tracker.begin(self.project, study.study_id)
        return study

    def send_all(self) -> None:
        """Send the study, and say what is there now and how to go on where it is not all."""
        from analysis.trackers import InFolder

        out, sender, tracker = self.out, self.sender, self.sender.tracker
        sender.progress = self.progress
        try:
            if self.flags.follow:
                send_while_running(out, self.folder, sender, self.read)
            sender.send(self.read())
        except KeyboardInterrupt:
            from arena.drain import Drained

            if not sender.sent:
                raise
            raise Drained(f"interrupted after {sender.amount}", hint="\n".join(self.again())) from None
        finally:
            tracker.close()
            if isinstance(tracker, InFolder):
                tracker.release()
        out.note(f"sent {sender.amount}; to look at them: {tracker.where}")
        if tracker.left_out:
            out.note(tracker.left_out)
        state = state_of(self.folder)
        if state == "running":
            out.note("the study is still running; to send the rest:")
            out.next(*self.again())
        elif state == "stopped":
            command = StudyConfig.read(self.folder / resolve.MARK).command
            resumed = [f"metaloop {command} --resume {resolve.typed(self.folder)}"] if command in RESUMED else []
            out.note("the study was stopped before its end; to go on:")
            out.next(*resumed, *self.again())
        if out.mode == "json":
            same = len(sender.unchanged)
            counts = {"runs": len(sender.sent) - same, "experiments": sender.steps, "unchanged": same}
            out.json({"study": str(self.folder), "to": self.to, "project": self.project, "state": state, **counts})

    def again(self) -> list[str]:
        """The commands that send the study once more; where its runs cannot be updated, the first deletes them."""
        from analysis.trackers import InFolder

        tracker = self.sender.tracker
        output = "" if tracker.address else f" -o {resolve.typed(self.goal)}"
        named = f" --project {shlex.quote(self.flags.project)}" if self.flags.project else ""
        command = f"metaloop export {resolve.typed(self.folder)} --to {self.to}{output}{named}"
        command += " --follow" if self.flags.follow else ""
        command = tracker.variables + command
        if isinstance(tracker, InFolder) and not tracker.updates:
            return [f"rm -r {resolve.typed(tracker.runs_of(self.project))}", command]
        return [command]

    def progress(self, sent: int, runs: int) -> None:
        """A line every few seconds while a server takes long."""
        now = time.monotonic()
        if sent == 1:
            self.said_at = now
        elif now - self.said_at >= PROGRESS_SECONDS and sent < runs:
            self.out.note(f"sending {self.project}: {sent} of {many(runs, 'run')}")
            self.said_at = now


def state_of(folder: Path) -> str:
    return str(item_of(load_board(folder)[0], folder)[0]["state"])


def to_hub(out: Output, folder: Path, target: Path) -> None:
    from analysis.hub_dataset import hub_dataset

    written = {str(path): rows for path, rows in hub_dataset(folder, target).items()}
    out.note(f"wrote {many(len(written), 'file')} to {target}")
    if out.mode == "json":
        out.json({"study": str(folder), "written": written})


def awaited(out: Output, study: str | None) -> Path:
    """The folder of the study, as soon as it has a ledger."""
    from analysis.study import ledger_folder

    there: list[Path] | None = None
    while True:
        try:
            folder = resolve.study_folder(study, out)
            ledger_folder(folder)
            return folder
        except NotFound:
            before, there = there, [*resolve.known_studies(), *resolve.studies_in(Path())]
            new = [] if before is None else [one for one in there if one not in before]
            if before is None:
                folders = [] if study is None else [resolve.placed(Path(study).expanduser())]
                folders += [str(resolve.STUDIES / study)] if study and "/" not in study else []
                what = f"waiting for the study {' or '.join(folders)}".strip()
                named = ", ".join(map(resolve.placed, there[-resolve.SHOWN :])) or "none here"
                out.note(f"{what} to start; Ctrl-C to give up (studies that are there: {named})")
            for other in new:
                if other != Path(study or "").expanduser():
                    out.note(f"a study {other.name} has started in {resolve.placed(other)}; did you mean it?")
        time.sleep(FOLLOW_SECONDS)


def send_while_running(out: Output, folder: Path, sender: Sender, read: Callable[[], TrackedStudy]) -> None:
    """Send what is new, again and again, until a study that has begun is not at work. What is then left is not sent."""
    begun, failed, remark_at, stopped_at = False, False, 0.0, 0.0
    while True:
        at_work = is_taken(folder)  # before the ledger is read, so that nothing is written after the last reading
        try:
            study, failed = read(), False
        except Corrupt:  # once: a record that is being written is no damage
            if failed:
                raise
            failed = True
            time.sleep(FOLLOW_SECONDS)
            continue
        begun = begun or at_work
        if not at_work and (begun or study.runs):
            state = state_of(folder)
            if state == "running":  # it was resumed while the ledger was read
                begun, stopped_at = True, 0.0
            elif state != "stopped" or (stopped_at and time.monotonic() - stopped_at >= RESUME_SECONDS):
                return
            elif not stopped_at:
                out.note(f"the study is stopped; waiting {RESUME_SECONDS:.0f} s for it to be resumed")
                stopped_at = time.monotonic()
        elif at_work:
            stopped_at = 0.0
        sender.send(study, last=False)
        if time.monotonic() >= remark_at:
            complete = f"{len(sender.ended)} of the runs are complete"
            out.note(f"following {resolve.shown(folder)}; sent so far: {sender.amount}; {complete}")
            remark_at = time.monotonic() + REMARK_SECONDS
        time.sleep(FOLLOW_SECONDS)


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
