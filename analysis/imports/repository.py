"""Reads commits and diffs from an untrusted repository without executing anything from it.

Its configuration, hooks and attributes can name programs, so git never runs in that repository. It runs in a temporary
empty repository that only uses the other's objects (`objects/info/alternates`). GitPython reads the references from
their files.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from analysis.imports.table import UnreadableLog
from programs.safe_git import ENVIRONMENT, borrow
from programs.text import word_list

if TYPE_CHECKING:
    from git import Commit, Repo

    from analysis.imports.runs import Row

DIFF = word_list("-r -p --no-ext-diff --no-textconv --no-renames --no-color --src-prefix=a/ --dst-prefix=b/")
LARGEST_DIFF = 200_000  # bytes of a commit's diff
LARGEST_FILE = 4 << 20  # bytes
MISSES = 20  # unknown hashes after which the repository counts as a different one
_HASH = re.compile(r"[0-9a-f]{4,40}")


@dataclass(frozen=True)
class Joined:
    """The commit of a row."""

    commit: str
    committed_at: str  # UTC
    diff: str | None  # against its first parent; None without one


class Commits:
    """Finds the commits of a log. A missing commit is None, not an error."""

    def __init__(self, repo: Repo) -> None:
        self.repo = repo
        self._joined: dict[str, Joined | None] = {}
        self.hits = self.misses = 0

    def join(self, text: str, log: str = "") -> Joined | None:
        """The commit with this full or short hash; its diff excludes the file ``log``."""
        short = text.strip().lower()
        if not _HASH.fullmatch(short) or (self.hits == 0 and self.misses >= MISSES):
            return None
        if short not in self._joined:
            self._joined[short] = self._read(short, log)
            self.hits += self._joined[short] is not None
            self.misses += self._joined[short] is None
        return self._joined[short]

    def _read(self, short: str, log: str) -> Joined | None:
        commit = self.commit(short)
        if commit is None:
            return None
        at = datetime.fromtimestamp(commit.committed_date, UTC).isoformat().replace("+00:00", "Z")
        return Joined(commit.hexsha, at, self._diff(commit, log))

    def commit(self, name: str) -> Commit | None:
        """The commit with this name, None if missing or ambiguous."""
        from git import Commit

        try:
            whole, kind, _ = self.repo.git.get_object_header(name)
        except ValueError:  # missing or ambiguous
            return None
        header = (kind, whole) if isinstance(kind, str) else (kind.decode(), whole.decode())  # GitPython says str
        return Commit(self.repo, bytes.fromhex(header[1])) if header[0] == "commit" else None

    def files_around(self, name: str, paths: Sequence[str]) -> tuple[list[str], list[str]] | None:
        """The texts of these files in the first parent of a commit and in the commit, empty where it lacks one; None if
        either commit is missing."""
        commit = self.commit(name) if name else None
        parent = self.commit(commit.parents[0].hexsha) if commit and commit.parents else None
        if commit is None or parent is None:
            return None
        return [_text(parent, path) for path in paths], [_text(commit, path) for path in paths]

    def _diff(self, commit: Commit, log: str) -> str | None:
        """The diff against the first parent, truncated at LARGEST_DIFF."""
        if not commit.parents or self.commit(commit.parents[0].hexsha) is None:
            return None
        but = [f":(exclude,glob)**/{log}"] if log and not re.search(r"[*?\[\]\\]", log) else []
        ends = commit.parents[0].hexsha, commit.hexsha
        made = self.repo.git.diff_tree(*DIFF, *ends, "--", ".", *but, as_process=True)
        try:
            data: bytes = made.stdout.read(LARGEST_DIFF + 1)
        finally:
            made.stdout.close()  # git stops at the broken pipe
            with suppress(Exception):
                made.wait()
        text = data[:LARGEST_DIFF].decode("utf-8", "replace")
        return text + ("\n# truncated\n" if len(data) > LARGEST_DIFF else "")


def _text(commit: Commit, path: str) -> str:
    with suppress(KeyError):
        file = commit.tree / path
        if file.type == "blob" and file.size <= LARGEST_FILE:
            return str(file.data_stream.read().decode("utf-8", "replace"))
    return ""


@contextmanager
def opened(folder: Path) -> Iterator[Commits]:
    """The commits of a repository. Raises UnreadableLog if it is none, or cannot be read."""
    from git import GitError, Repo

    with tempfile.TemporaryDirectory(prefix="metaloop-objects-") as ours:
        try:
            with Repo(folder, search_parent_directories=False) as theirs:
                borrow(Path(ours), Path(theirs.common_dir) / "objects")
            repo = Repo(ours)
        except (GitError, OSError, ValueError) as error:
            raise UnreadableLog(f"not a readable repository: {' '.join(str(error).split())[:200]}") from None
        repo.git.update_environment(**ENVIRONMENT)
        try:
            yield Commits(repo)
        except (GitError, OSError, ValueError, IndexError) as error:  # untrusted objects may contain anything
            raise UnreadableLog(f"the repository cannot be read: {' '.join(str(error).split())[:200]}") from None
        finally:
            repo.close()


def repository_of(folder: Path) -> Path | None:
    """The repository that a folder lies in: its work tree, or the folder of a bare one."""
    for parent in (folder, *folder.parents):
        if (parent / ".git").exists() or ((parent / "HEAD").is_file() and (parent / "objects").is_dir()):
            return parent
    return None


def joined(rows: Sequence[Row], folder: Path, log: str) -> dict[int, Joined]:
    """line → commit, for the rows whose commit the repository has, the kept ones first.

    A discarded row often has the hash of the commit it started from; if a kept row has that hash, the discarded row is
    not joined to it. Raises UnreadableLog if the repository cannot be read.
    """
    out: dict[int, Joined] = {}
    held: set[str] = set()  # commits of kept rows
    with opened(folder) as commits:
        for is_kept in (True, False):
            for row in rows:
                if (row.decision == "baseline" or row.step_gain is not None) is is_kept:
                    commit = commits.join(row.commit or "", log)
                    if commit is not None and (is_kept or commit.commit not in held):
                        out[row.line] = commit
                        held |= {commit.commit} if is_kept else set()
    return out
