"""Reads commits and diffs from an untrusted repository without executing anything from it.

Its configuration, hooks and attributes can name programs, so git never runs in that repository. It runs in a temporary
empty repository that only uses the other's objects (`objects/info/alternates`). GitPython reads the references from
their files.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from analysis.imports.text import MAX_BYTES, UnreadableLog, is_log
from programs.safe_git import ENVIRONMENT, borrow

if TYPE_CHECKING:
    from git import Commit, Repo

MOST_REFS = 60
LARGEST_DIFF = 200_000  # bytes of a commit's diff
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

    def _diff(self, commit: Commit, log: str) -> str | None:
        """The diff against the first parent, truncated at LARGEST_DIFF."""
        if not commit.parents or self.commit(commit.parents[0].hexsha) is None:
            return None
        but = [f":(exclude,glob)**/{log}"] if log and not re.search(r"[*?\[\]\\]", log) else []
        made = self.repo.git.diff_tree(
            "-r",
            "-p",
            "--no-ext-diff",
            "--no-textconv",
            "--no-renames",
            "--no-color",
            "--src-prefix=a/",
            "--dst-prefix=b/",
            commit.parents[0].hexsha,
            commit.hexsha,
            "--",
            ".",
            *but,
            as_process=True,
        )
        try:
            data: bytes = made.stdout.read(LARGEST_DIFF + 1)
        finally:
            made.stdout.close()  # git stops at the broken pipe
            with suppress(Exception):
                made.wait()
        text = data[:LARGEST_DIFF].decode("utf-8", "replace")
        return text + ("\n# truncated\n" if len(data) > LARGEST_DIFF else "")


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


def logs_in_branches(folder: Path) -> list[tuple[str, str]]:
    """(path, newest commit) of logs at the top level of HEAD and of the branches."""
    newest: dict[str, tuple[int, str]] = {}
    tips = _tips(folder)
    with suppress(UnreadableLog), opened(folder) as commits:
        for name in tips:
            if (commit := commits.commit(name)) is not None:
                for log in filter(is_log, (str(blob.name) for blob in commit.tree.blobs)):
                    if commit.committed_date > newest.get(log, (-1, ""))[0]:
                        newest[log] = commit.committed_date, commit.hexsha
    return [(name, ref) for name, (_, ref) in sorted(newest.items())]


def _tips(folder: Path) -> list[str]:
    """The hashes of the references, read from their files."""
    from git import GitError, Repo, SymbolicReference

    hashes: list[str] = []
    with suppress(GitError, OSError), Repo(folder, search_parent_directories=False) as theirs:
        for ref in list(theirs.refs)[:MOST_REFS]:
            with suppress(ValueError, OSError):
                hashes.append(SymbolicReference.dereference_recursive(theirs, ref.path))
    return [name for name in hashes if _HASH.fullmatch(name)]


def file_at(folder: Path, ref: str, name: str) -> bytes:
    """The bytes of a file in a commit's tree. Raises UnreadableLog if it is missing or larger than MAX_BYTES."""
    with opened(folder) as commits:
        commit = commits.commit(ref)
        blob = next((item for item in commit.tree.blobs if item.name == name), None) if commit else None
        if blob is None:
            raise UnreadableLog("it is no longer in the repository")
        if blob.size > MAX_BYTES:
            raise UnreadableLog(f"larger than {MAX_BYTES >> 20} MiB")
        data: bytes = blob.data_stream.read()
        return data
