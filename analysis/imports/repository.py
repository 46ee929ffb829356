"""Reads commits and diffs from an untrusted repository without executing anything from it.

Its configuration, hooks and attributes can name programs, so git never runs in that repository, but in one that borrows
its objects.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from analysis.imports.rows import Row
from analysis.imports.table import UnreadableLog
from programs.common.errors import Corrupt
from programs.common.safe_git import BorrowedRepository
from programs.common.text import word_list

DIFF = word_list("-r -p --no-ext-diff --no-textconv --no-renames --no-color --src-prefix=a/ --dst-prefix=b/")
LARGEST_DIFF = 200_000  # bytes of a commit's diff
LARGEST_FILE = 4 << 20  # bytes
_HASH = re.compile(r"[0-9a-f]{4,64}")


@dataclass(frozen=True)
class Joined:
    """The commit of a row."""

    commit: str
    committed_at: str  # UTC
    diff: str | None  # against its first parent; None without one


class Commits:
    """Finds the commits of a log. A missing commit is None, not an error."""

    def __init__(self, repository: BorrowedRepository) -> None:
        self._repository = repository
        self._found: dict[str, tuple[str, str, str] | None] = {}  # name → hash, seconds, first parent or empty
        self._joined: dict[tuple[str, str], Joined] = {}

    def find(self, texts: Iterable[str | None]) -> None:
        """Look up full or short hashes of commits, all in two processes; None for a missing or ambiguous one."""
        names = map(normal, texts)
        new = {name: "" for name in names if _HASH.fullmatch(name) and name not in self._found}
        if not new:
            return
        lines = self._repository.git("cat-file", "--batch-check", data="\n".join(new).encode()).splitlines()
        for name, line in zip(new, lines, strict=True):
            whole, kind, *_ = line.split()
            new[name] = whole if kind == "commit" and whole.startswith(name) else ""
        words = word_list("log --no-walk=unsorted --stdin --format=%H|%ct|%P")
        hashes = "\n".join(filter(None, new.values())).encode()
        lines = self._repository.git(*words, data=hashes).splitlines() if hashes else []  # else git looks for HEAD
        rows = (line.split("|") for line in lines)
        commits = {commit: (commit, at, parents[: len(commit)]) for commit, at, parents in rows}
        self._found |= {name: commits.get(commit) for name, commit in new.items()}

    def _find(self, text: str) -> tuple[str, str, str] | None:
        self.find([text])
        return self._found.get(normal(text))

    def join(self, text: str, log: str = "") -> Joined | None:
        """The commit with this full or short hash; its diff excludes the file ``log``."""
        known_commit = self._find(text)
        if known_commit and (known_commit[0], log) not in self._joined:
            commit, seconds, parent = known_commit
            try:
                at = datetime.fromtimestamp(int(seconds), UTC).isoformat().replace("+00:00", "Z")
            except (ValueError, OverflowError, OSError):  # no date, or one of another age
                return None
            self._joined[commit, log] = Joined(commit, at, self._diff(commit, parent, log) if parent else None)
        return self._joined[known_commit[0], log] if known_commit else None

    def files_around(self, text: str, paths: Sequence[str]) -> tuple[list[str], list[str]] | None:
        """The texts of these files in the first parent of a commit and in the commit, empty where it lacks one; None if
        either commit is missing."""
        commit, _, parent = self._find(text) or ("", "", "")
        if not self._find(parent):
            return None
        return [self._text(parent, path) for path in paths], [self._text(commit, path) for path in paths]

    def _text(self, commit: str, path: str) -> str:
        return (self._repository.file(commit, path, LARGEST_FILE) or b"").decode("utf-8", "replace")

    def _diff(self, commit: str, parent: str, log: str) -> str | None:
        """The diff against the first parent, truncated at LARGEST_DIFF; None if that is missing."""
        but = [f":(exclude,glob)**/{log}"] if log and not re.search(r"[*?\[\]\\]", log) else []
        done = self._repository.attempt("diff-tree", *DIFF, parent, commit, "--", ".", *but, most=LARGEST_DIFF)
        if done.returncode and len(done.stdout) <= LARGEST_DIFF:
            return None
        text = done.stdout[:LARGEST_DIFF].decode("utf-8", "replace")
        return text + ("\n# truncated\n" if len(done.stdout) > LARGEST_DIFF else "")


def normal(name: str | None) -> str:
    """A hash as git writes it."""
    return (name or "").strip().lower()


@contextmanager
def opened(folder: Path) -> Iterator[Commits]:
    """The commits of a repository. Raises UnreadableLog if it is none, or cannot be read."""
    try:
        with BorrowedRepository.open(folder) as repository:
            yield Commits(repository)
    except (Corrupt, OSError, ValueError, ArithmeticError) as error:  # untrusted objects may contain anything
        reason = error.message if isinstance(error, Corrupt) else f"the repository cannot be read: {error}"
        raise UnreadableLog(" ".join(reason.split())[:300]) from None


def joined(rows: Sequence[Row], folder: Path, log: str) -> dict[int, Joined]:
    """line → commit, for the rows whose commit the repository has, the kept ones first.

    A discarded row often has the hash of the commit it started from; if a kept row has that hash, the discarded row is
    not joined to it. Raises UnreadableLog if the repository cannot be read.
    """
    out: dict[int, Joined] = {}
    held: set[str] = set()  # commits of kept rows
    with opened(folder) as commits:
        commits.find(row.commit for row in rows)
        for is_kept in (True, False):
            for row in rows:
                if (row.decision == "baseline" or row.step_gain is not None) is is_kept:
                    commit = commits.join(row.commit or "", log)
                    if commit is not None and (is_kept or commit.commit not in held):
                        out[row.line] = commit
                        held |= {commit.commit} if is_kept else set()
    return out
