"""The git repository of a run: a commit per kept experiment, and the diff of every experiment as a file.

Commits are written by `git fast-import` (https://git-scm.com/docs/git-fast-import): one process for each.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import datetime
from pathlib import Path

from inner_loop.events import Experiment
from inner_loop.results_tsv import header, row
from programs.common.git_command import run_in
from programs.common.text import one_line
from trainer.edits import format_value

AUTHOR = "Metaloop <metaloop@localhost>"


class RunRepository:
    """`folder` is an ordinary git repository.

    Branch `main` leads to the head. When the head moves to another branch, the old tip stays as `kept-NUMBER`. The same
    experiments give the same commit hashes, so a resumed run rebuilds the same repository. A source that no known edit
    gives is committed when it was measured, as `refs/experiments/NUMBER`: `inner_loop.stored_sources` reads it.
    """

    def __init__(self, folder: Path, metric: str) -> None:
        self.folder = folder
        self._metric = metric
        self._diffs, self._logs, self._git = folder / "diffs", folder / "logs", folder / ".git"
        for directory in (self._diffs, self._logs):
            directory.mkdir(parents=True, exist_ok=True)
        unlock(self._git)
        lay_out(self._git)
        self._results = folder / "results.tsv"
        self._results.write_text(header(metric), encoding="utf-8")
        self._hashes: dict[int, str] = {}
        self._tip: int | None = None

    def add_row(self, experiment: Experiment) -> None:
        """Add a decided experiment to results.tsv. Each opening starts the file again; a resumed run writes the same
        rows."""
        with self._results.open("a", encoding="utf-8") as file:
            file.write(row(experiment, self._hashes.get(experiment.number, "")))

    def write(self, experiment: Experiment) -> None:
        """Store an experiment's diff against its parent, kept or not, as `diffs/NUMBER.diff`, its log, and its source
        if its row alone does not give it.

        A replayed experiment has no log; the log of its first run stays.
        """
        name = f"{experiment.number:04d}"
        (self._diffs / f"{name}.diff").write_text(experiment.diff, encoding="utf-8", newline="")
        if experiment.log:
            (self._logs / f"{name}.log").write_text(experiment.log, encoding="utf-8", newline="")
        if not experiment.edit and experiment.parent_source_id not in (None, experiment.source_id):
            self._commit(experiment)

    def log_of(self, experiment: Experiment) -> str:
        """The stored log; empty if there is none."""
        path = self._logs / f"{experiment.number:04d}.log"
        return path.read_bytes().decode("utf-8", "replace") if path.is_file() else ""

    def move(self, experiment: Experiment) -> None:
        """Move main to an experiment, committing it first if necessary."""
        if experiment.number not in self._hashes:
            self._commit(experiment)
        heads = self._git / "refs" / "heads"
        if self._tip is not None and experiment.parent_number != self._tip:
            (heads / f"kept-{self._tip:04d}").write_text(self._hashes[self._tip] + "\n")
        (heads / f"kept-{experiment.number:04d}").unlink(missing_ok=True)
        fresh = heads / "main.new"
        fresh.write_text(self._hashes[experiment.number] + "\n")
        fresh.replace(heads / "main")
        self._tip = experiment.number

    def close(self) -> None:
        """Check out main, so that `git status` is clean."""
        if self._tip is not None:
            run_in(self.folder, "reset", "--hard", "--quiet", "main")

    def _commit(self, experiment: Experiment) -> None:
        """Commit a source on top of its parent's."""
        above = "" if experiment.parent_number is None else self._hashes.get(experiment.parent_number, "")
        seconds = int(datetime.fromisoformat(experiment.started_at).timestamp())
        head = [f"commit refs/experiments/{experiment.number:04d}", "mark :1"]
        head += [f"{role} {AUTHOR} {seconds} +0000" for role in ("author", "committer")]
        stream = b"\n".join([*(line.encode() for line in head), _data(message(experiment, self._metric))])
        stream += f"from {above}\n".encode() if above else b""
        stream += b"deleteall\n"
        for name, text in experiment.source.files:
            stream += f"M 100644 inline {json.dumps(name)}\n".encode() + _data(text)
        self._hashes[experiment.number] = run_in(
            self.folder, "fast-import", "--quiet", "--force", data=stream + b"get-mark :1\n"
        )


def _data(text: str) -> bytes:
    data = text.encode()
    return f"data {len(data)}\n".encode() + data + b"\n"


def lay_out(git_folder: Path) -> None:
    """The files that make a folder the repository of a run, whose other files are excluded from `git status`. Objects
    and branches that it has stay."""
    for name in ("info", "objects", "refs/heads"):
        (git_folder / name).mkdir(parents=True, exist_ok=True)
    (git_folder / "config").write_text(
        "[core]\n\trepositoryformatversion = 0\n\tbare = false\n\tfsync = none\n[gc]\n\tauto = 0\n"
    )
    (git_folder / "info" / "exclude").write_text("/diffs/\n/results.tsv\n/logs/\n/agent/\n")
    (git_folder / "HEAD").write_text("ref: refs/heads/main\n")


def unlock(git_folder: Path) -> None:
    """Remove the locks of an interrupted git. Only one process uses a repository of ours at a time."""
    for folder in (git_folder, git_folder / "refs" / "heads", git_folder / "refs" / "experiments"):
        for lock in folder.glob("*.lock"):
            lock.unlink(missing_ok=True)


def message(experiment: Experiment, metric: str) -> str:
    """Subject and trailers of an experiment's commit."""
    value = "none" if experiment.metric is None else f"{experiment.metric:.6f}"
    trailers = [
        f"Experiment: {experiment.experiment_id}",
        f"Metric: {metric} {value}",
        f"Cost: {format_value(experiment.device_seconds_charged)} s",
        f"Edit: {json.dumps(asdict(experiment.edit), sort_keys=True)}",
        *([f"Directives: {' '.join(experiment.directive_ids)}"] if experiment.directive_ids else []),
    ]
    subject = one_line(experiment.description) or "experiment"
    return "\n".join([subject, "", *trailers]) + "\n"
