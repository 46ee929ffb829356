"""The git repository of a run: a commit per kept experiment, and the diff of every experiment as a file.

Objects are written loose, in git's own format (https://git-scm.com/book/en/v2/Git-Internals-Git-Objects): no index, no
lock, no process per commit. `git init` and each object of GitPython's database would be a process of their own.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from pathlib import Path

from inner_loop.record import Record
from programs.common.errors import EnvironmentProblem
from programs.common.text import one_line
from trainer.edits import format_value
from trainer.source import Source

AUTHOR = "Metaloop <metaloop@localhost>"


class RunRepository:
    """`folder` is an ordinary git repository.

    Branch `main` leads to the head. When the head moves to another branch, the old tip stays as `kept-NUMBER`. The same
    records give the same commit hashes, so a resumed run rebuilds the same repository.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._diffs, self._logs, self._git = folder / "diffs", folder / "logs", folder / ".git"
        for place in (self._diffs, self._logs):
            place.mkdir(parents=True, exist_ok=True)
        unlock(self._git)
        lay_out(self._git)
        self._hashes: dict[int, str] = {}
        self._tip: int | None = None

    def hash_of(self, record: Record) -> str:
        """The commit of a record; empty if it was not kept."""
        return self._hashes.get(record.number, "")

    def write(self, record: Record) -> None:
        """Store an experiment's diff against its parent, kept or not, as `diffs/NUMBER.diff`, and its log.

        A replayed experiment has no log; the log of its first run stays.
        """
        name = f"{record.number:04d}"
        (self._diffs / f"{name}.diff").write_text(record.diff, encoding="utf-8", newline="")
        if record.outcome.log:
            (self._logs / f"{name}.log").write_text(record.outcome.log, encoding="utf-8", newline="")

    def log_of(self, record: Record) -> str:
        """The stored log; empty if there is none."""
        path = self._logs / f"{record.number:04d}.log"
        return path.read_bytes().decode("utf-8", "replace") if path.is_file() else ""

    def commit(self, record: Record, parent: Record | None, metric: str) -> str:
        """Commit a record's source on top of its parent's and move main to it."""
        above = self._hashes.get(parent.number, "") if parent else ""
        lines = [f"tree {self._tree(record.source)}", *([f"parent {above}"] if above else [])]
        seconds = int(datetime.fromisoformat(record.started_at).timestamp())
        lines += [f"author {AUTHOR} {seconds} +0000", f"committer {AUTHOR} {seconds} +0000", ""]
        commit = self._store("commit", "\n".join([*lines, message(record, metric)]).encode())
        self._hashes[record.number] = commit
        self._point(record, parent)
        return commit

    def move(self, record: Record, parent: Record | None, metric: str) -> None:
        """Move main to a record, committing it first if necessary."""
        if record.number in self._hashes:
            self._point(record, parent)
        else:
            self.commit(record, parent, metric)

    def close(self) -> None:
        """Check out main, so that `git status` is clean."""
        from git import Git

        if self._tip is not None:
            with _git_errors(self.folder):
                Git(self.folder).reset("--hard", "--quiet", "main")

    def _point(self, record: Record, parent: Record | None) -> None:
        heads = self._git / "refs" / "heads"
        if self._tip is not None and (parent is None or parent.number != self._tip):
            (heads / f"kept-{self._tip:04d}").write_text(self._hashes[self._tip] + "\n")
        (heads / f"kept-{record.number:04d}").unlink(missing_ok=True)
        fresh = heads / "main.new"
        fresh.write_text(self._hashes[record.number] + "\n")
        fresh.replace(heads / "main")
        self._tip = record.number

    def _tree(self, source: Source) -> str:
        """The tree of a source; sub-folders are trees of their own."""
        return self._subtree({tuple(name.split("/")): text for name, text in source.files})

    def _subtree(self, files: dict[tuple[str, ...], str]) -> str:
        entries: dict[str, tuple[str, str]] = {}
        folders: dict[str, dict[tuple[str, ...], str]] = {}
        for path, text in files.items():
            if len(path) == 1:
                entries[path[0]] = ("100644", self._store("blob", text.encode()))
            else:
                folders.setdefault(path[0], {})[path[1:]] = text
        for name, inside in folders.items():
            entries[name] = ("40000", self._subtree(inside))
        ordered = sorted(entries.items(), key=lambda item: item[0] + ("/" if item[1][0] == "40000" else ""))
        return self._store("tree", b"".join(f"{m} {n}".encode() + b"\0" + bytes.fromhex(h) for n, (m, h) in ordered))

    def _store(self, kind: str, data: bytes) -> str:
        """Write an object unless it exists; returns its SHA-1 name."""
        whole = f"{kind} {len(data)}\0".encode() + data
        name = hashlib.sha1(whole, usedforsecurity=False).hexdigest()
        path = self._git / "objects" / name[:2] / name[2:]
        if not path.exists():
            path.parent.mkdir(exist_ok=True)
            fresh = path.with_suffix(".new")
            fresh.unlink(missing_ok=True)  # read-only, if a kill left it here
            fresh.write_bytes(zlib.compress(whole, 1))
            fresh.chmod(0o444)
            fresh.replace(path)
        return name


def lay_out(git_folder: Path) -> None:
    """The files that make a folder the repository of a run, whose other files are excluded from `git status`. Objects
    and branches that it has stay."""
    for name in ("info", "objects", "refs/heads"):
        (git_folder / name).mkdir(parents=True, exist_ok=True)
    (git_folder / "config").write_text("[core]\n\trepositoryformatversion = 0\n\tbare = false\n")
    (git_folder / "info" / "exclude").write_text("/diffs/\n/results.tsv\n/logs/\n/agent/\n")
    (git_folder / "HEAD").write_text("ref: refs/heads/main\n")


def unlock(git_folder: Path) -> None:
    """Remove the locks of an interrupted git. Only one process uses a repository of ours at a time."""
    for folder in (git_folder, git_folder / "refs" / "heads"):
        for lock in folder.glob("*.lock"):
            lock.unlink(missing_ok=True)


@contextmanager
def _git_errors(folder: Path) -> Iterator[None]:
    """Turns an error of git, usually a full disk, into one line."""
    from git import GitError

    try:
        yield
    except GitError as error:
        said = " ".join(str(getattr(error, "stderr", "") or error).split())
        hint = "free disk space or repair the folder, then run the same command again: nothing is lost"
        raise EnvironmentProblem(f"{folder}: git failed: {said[:300]}", hint=hint) from error


def message(record: Record, metric: str) -> str:
    """Subject and trailers of a kept experiment's commit."""
    value = "none" if record.metric is None else f"{record.metric:.6f}"
    trailers = [
        f"Experiment: {record.experiment_id}",
        f"Metric: {metric} {value}",
        f"Cost: {format_value(record.charged)} s",
        f"Edit: {json.dumps(asdict(record.edit), sort_keys=True)}",
        *([f"Directives: {' '.join(record.because)}"] if record.because else []),
    ]
    subject = one_line(record.description) or "experiment"
    return "\n".join([subject, "", *trailers]) + "\n"
