"""The git repository of a run: a commit per kept experiment, the diff of every experiment beside it.

Objects are written loose, as git itself writes them (https://git-scm.com/book/en/v2/Git-Internals-Git-Objects): no
index, no lock, no process per commit. GitPython's object database starts a process per object, 6 ms each.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from inner_loop.record import Record
from programs.errors import EnvironmentProblem
from trainer.edits import format_value
from trainer.source import Source

if TYPE_CHECKING:
    from git import Repo

AUTHOR = "Metaloop <metaloop@localhost>"


class RunRepository:
    """`folder` is an ordinary repository: clone it, log it, show a commit, check one out.

    Branch `main` leads to the head. A tip that the head leaves for another branch stays as `kept-NUMBER`. The same
    records give the same commit hashes, so a resumed run rebuilds what it had.
    """

    def __init__(self, folder: Path) -> None:
        from git import Repo

        self.folder = folder
        self._diffs, self._logs = folder / "diffs", folder / "logs"
        self._diffs.mkdir(parents=True, exist_ok=True)
        self._logs.mkdir(exist_ok=True)
        unlock(folder / ".git")
        with _git_errors(folder):
            self._repo: Repo = Repo.init(folder, initial_branch="main")
        self._exclude()
        self._hashes: dict[int, str] = {}
        self._tip: int | None = None
        self.beside: dict[str, str] = {}  # name and text of files that are committed with every source
        self._head: Record | None = None
        self._trees: dict[int, str] = {}

    def hash_of(self, record: Record) -> str:
        """The commit of a record; empty if it was not kept."""
        return self._hashes.get(record.number, "")

    def write(self, record: Record) -> None:
        """Store what an experiment changed against its parent, kept or not, as `diffs/NUMBER.diff`, and its log.

        A replayed experiment has no log; the one that its first run wrote stays.
        """
        name = f"{record.number:04d}"
        (self._diffs / f"{name}.diff").write_text(record.diff, encoding="utf-8", newline="")
        if record.outcome.log:
            (self._logs / f"{name}.log").write_text(record.outcome.log, encoding="utf-8", newline="")

    def log_of(self, record: Record) -> str:
        """The log as it was written; empty if there is none."""
        path = self._logs / f"{record.number:04d}.log"
        return path.read_bytes().decode("utf-8", "replace") if path.is_file() else ""

    def commit(self, record: Record, parent: Record | None, metric: str) -> str:
        """Commit a record's source on top of its parent's and move main to it."""
        above = self._hashes.get(parent.number, "") if parent else ""
        self._trees[record.number] = self._whole(record)
        lines = [f"tree {self._trees[record.number]}", *([f"parent {above}"] if above else [])]
        seconds = int(datetime.fromisoformat(record.started_at).timestamp())
        lines += [f"author {AUTHOR} {seconds} +0000", f"committer {AUTHOR} {seconds} +0000", ""]
        commit = self._store("commit", "\n".join([*lines, message(record, metric)]).encode())
        self._hashes[record.number] = commit
        self._point(record, parent)
        return commit

    def move(self, record: Record, parent: Record | None, metric: str) -> None:
        """Move main to a record, which is committed first if it was not kept at its time."""
        if record.number in self._hashes:
            self._point(record, parent)
        else:
            self.commit(record, parent, metric)

    def close(self) -> None:
        """Show main's files in the folder, so that `git status` is clean."""
        if self._head is not None:
            self._commit_beside(self._head)
            with _git_errors(self.folder):
                self._repo.git.reset("--hard", "--quiet", "main")
        self._repo.close()

    def _commit_beside(self, head: Record) -> None:
        """One more commit on main, where what lies beside the sources has changed since the head was kept."""
        tree = self._whole(head)
        if tree == self._trees[head.number]:
            return
        seconds = int(datetime.fromisoformat(head.started_at).timestamp())
        lines = [f"tree {tree}", f"parent {self._hashes[head.number]}", f"author {AUTHOR} {seconds} +0000"]
        lines += [f"committer {AUTHOR} {seconds} +0000", "", f"{', '.join(self.beside)} at the end of the run\n"]
        commit = self._store("commit", "\n".join(lines).encode())
        (Path(self._repo.git_dir) / "refs" / "heads" / "main").write_text(commit + "\n")

    def _exclude(self) -> None:
        """Keep what lies beside the sources out of `git status`."""
        info = Path(self._repo.git_dir) / "info"
        info.mkdir(exist_ok=True)
        (info / "exclude").write_text("/diffs/\n/results.tsv\n/logs/\n/agent/\n", encoding="utf-8")

    def _point(self, record: Record, parent: Record | None) -> None:
        heads = Path(self._repo.git_dir) / "refs" / "heads"
        if self._tip is not None and (parent is None or parent.number != self._tip):
            (heads / f"kept-{self._tip:04d}").write_text(self._hashes[self._tip] + "\n")
        (heads / f"kept-{record.number:04d}").unlink(missing_ok=True)
        fresh = heads / "main.new"
        fresh.write_text(self._hashes[record.number] + "\n")
        fresh.replace(heads / "main")
        self._tip, self._head = record.number, record

    def _whole(self, record: Record) -> str:
        """The tree of a record's source with what lies beside it."""
        return self._tree(Source((*record.source.files, *self.beside.items())))

    def _tree(self, source: Source) -> str:
        """The tree of a source; files in sub-folders become trees of their own."""
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
        """Write an object, if it is not there yet; its SHA-1 name."""
        whole = f"{kind} {len(data)}\0".encode() + data
        name = hashlib.sha1(whole, usedforsecurity=False).hexdigest()
        path = Path(self._repo.git_dir) / "objects" / name[:2] / name[2:]
        if not path.exists():
            path.parent.mkdir(exist_ok=True)
            fresh = path.with_suffix(".new")
            fresh.unlink(missing_ok=True)  # read-only, if a kill left it here
            fresh.write_bytes(zlib.compress(whole, 1))
            fresh.chmod(0o444)
            fresh.replace(path)
        return name


def unlock(git_folder: Path) -> None:
    """Remove the locks of a git that was cut off in here. Whoever opens a repository of ours is alone with it."""
    for folder in (git_folder, git_folder / "refs" / "heads"):
        for lock in folder.glob("*.lock"):
            lock.unlink(missing_ok=True)


@contextmanager
def _git_errors(folder: Path) -> Iterator[None]:
    """What git could not do, a full disk most of all, as one line."""
    from git import GitError

    try:
        yield
    except GitError as error:
        said = " ".join(str(getattr(error, "stderr", "") or error).split())
        hint = "free the disk or mend the folder, then run the same command again: nothing is lost"
        raise EnvironmentProblem(f"{folder}: git failed: {said[:300]}", hint=hint) from error


def message(record: Record, metric: str) -> str:
    """Subject and trailers of a kept experiment's commit."""
    value = "none" if record.metric is None else f"{record.metric:.6f}"
    trailers = [
        f"Experiment: {record.experiment_id}",
        f"Metric: {metric} {value}",
        f"Cost: {format_value(record.charged)} s",
        f"Edit: {json.dumps(record.edit.to_json(), sort_keys=True)}",
        *([f"Directives: {' '.join(record.because)}"] if record.because else []),
    ]
    subject = " ".join(record.description.split()) or "experiment"
    return "\n".join([subject, "", *trailers]) + "\n"
