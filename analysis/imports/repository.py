"""Commits and diffs from somebody else's repository, read as data: no git process, so no hook, filter or config runs.

GitPython's pure object database (gitdb) reads loose objects and packs; trees are compared and diffs made here.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis.imports.text import Refused

if TYPE_CHECKING:
    from git import Commit, Repo, Tree

MOST_REFS = 60
LARGEST_FILE = 400_000  # bytes of a file whose changes are shown
LARGEST_DIFF = 200_000  # characters of a commit's diff
MOST_LINES = 8_000
DEEPEST = 20
MISSES = 20  # hashes that are not there before a repository counts as another one
_HASH = re.compile(r"[0-9a-f]{4,40}")


@dataclass(frozen=True)
class Joined:
    """A row's commit as the repository has it."""

    commit: str
    committed_at: str  # UTC
    diff: str | None  # against its first parent; None for a first commit


class Commits:
    """Finds the commits that a log names. What is missing or cannot be read is None, never an error."""

    def __init__(self, repo: Repo) -> None:
        self.repo = repo
        self._loose: dict[str, list[str]] = {}
        self._found: dict[str, Joined | None] = {}
        self.hits = self.misses = 0

    def join(self, text: str, logs: frozenset[str] = frozenset()) -> Joined | None:
        """The commit of this hash, whole or cut short; files named in ``logs`` are left out of its diff."""
        short = text.strip().lower()
        if not _HASH.fullmatch(short) or (self.hits == 0 and self.misses >= MISSES):
            return None
        if short not in self._found:
            self._found[short] = self._read(short, logs)
            self.hits += self._found[short] is not None
            self.misses += self._found[short] is None
        return self._found[short]

    def _read(self, short: str, logs: frozenset[str]) -> Joined | None:
        from git.exc import BadObject

        name = self._complete(short)
        if name is None:
            return None
        commit = self._commit(bytes.fromhex(name))
        if commit is None:
            return None
        at = datetime.fromtimestamp(commit.committed_date, UTC).isoformat().replace("+00:00", "Z")
        diff = None
        with suppress(BadObject):  # a shallow clone ends at a commit whose parent is not there
            diff = _diff(self.repo, commit, logs)
        return Joined(name, at, diff)

    def _commit(self, binsha: bytes) -> Commit | None:
        from git import Commit

        return Commit(self.repo, binsha) if self.repo.odb.info(binsha).type == b"commit" else None

    def _complete(self, short: str) -> str | None:
        """The one whole name that begins so; None where there is none, or several."""
        from git.exc import AmbiguousObjectName, BadObject

        names = {name for name in self._named(short[:2]) if name.startswith(short)}
        for database in self.repo.odb.databases():
            packed = getattr(database, "partial_to_complete_sha", None)  # of packs; loose ones are listed above
            if packed is None:
                continue
            try:
                names.add(packed(bytes.fromhex(short + "0" * (len(short) % 2)), len(short)).hex())
            except BadObject:
                continue
            except AmbiguousObjectName:
                return None
        return names.pop() if len(names) == 1 else None

    def _named(self, first: str) -> list[str]:
        """Loose objects whose names begin with these two digits."""
        if first not in self._loose:
            folder = Path(self.repo.common_dir) / "objects" / first
            names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
            self._loose[first] = [first + name for name in names if len(name) == 38]
        return self._loose[first]


@contextmanager
def opened(folder: Path) -> Iterator[Commits]:
    """The commits of a repository. Raises Refused where it is none, or cannot be read."""
    from git import GitDB, GitError, Repo

    try:
        repo = Repo(folder, odbt=GitDB, search_parent_directories=False)
    except (GitError, OSError, ValueError) as error:
        raise Refused(f"no repository that can be read: {' '.join(str(error).split())[:200]}") from None
    try:
        yield Commits(repo)
    except Refused:
        raise
    except Exception as error:  # a stranger's objects: whatever breaks on them is told, and the log is read without
        raise Refused(f"the repository cannot be read: {type(error).__name__}") from error
    finally:
        repo.close()


def logs_in_branches(folder: Path) -> list[tuple[str, str]]:
    """(path, commit) of logs at the top of HEAD and of the branches; of one path the newest commit's."""
    from analysis.imports.find import is_log

    newest: dict[str, tuple[int, str]] = {}
    with suppress(Refused), opened(folder) as commits:
        for commit in _tips(commits.repo):
            for blob in commit.tree.blobs:
                if is_log(str(blob.name)) and commit.committed_date > newest.get(str(blob.name), (-1, ""))[0]:
                    newest[str(blob.name)] = commit.committed_date, commit.hexsha
    return [(name, ref) for name, (_, ref) in sorted(newest.items())]


def _tips(repo: Repo) -> list[Commit]:
    found = []
    for ref in repo.refs[:MOST_REFS]:
        with suppress(ValueError, OSError):
            found.append(ref.commit)
    return found


def file_at(folder: Path, ref: str, name: str, limit: int) -> bytes:
    """The bytes of a file in a commit's tree. Raises Refused where it is missing or larger than ``limit``."""
    from git import Commit

    with opened(folder) as commits:
        blob = Commit(commits.repo, bytes.fromhex(ref)).tree / name
        return _bytes(commits.repo, blob.binsha, limit)


def _bytes(repo: Repo, binsha: bytes, limit: int) -> bytes:
    if repo.odb.info(binsha).size > limit:
        raise Refused(f"larger than {limit:,} bytes")
    data: bytes = repo.odb.stream(binsha).read(limit)
    return data


def _diff(repo: Repo, commit: Commit, logs: frozenset[str]) -> str | None:
    if not commit.parents:
        return None
    parent = commit.parents[0]
    parts: list[str] = []
    size = 0
    for path, old, new in _changed(parent.tree, commit.tree, "", 0):
        if path.rpartition("/")[2] in logs:
            continue
        part = _file_diff(repo, path, old, new)
        size += len(part)
        if size > LARGEST_DIFF:
            parts.append(f"# the rest is left out: this diff is longer than {LARGEST_DIFF:,} characters\n")
            break
        parts.append(part)
    return "".join(parts)


def _changed(old: Tree | None, new: Tree | None, above: str, depth: int) -> Iterator[tuple[str, Any, Any]]:
    """(path, blob before, blob after) of every file that differs between two trees."""
    if depth > DEEPEST:
        return
    before = {str(item.name): item for item in old} if old is not None else {}
    after = {str(item.name): item for item in new} if new is not None else {}
    for name in sorted(before.keys() | after.keys()):
        a, b = before.get(name), after.get(name)
        if a is not None and b is not None and a.binsha == b.binsha:
            continue
        trees = [item if item is not None and item.type == "tree" else None for item in (a, b)]
        blobs = [item if item is not None and item.type == "blob" else None for item in (a, b)]
        if any(tree is not None for tree in trees):
            yield from _changed(trees[0], trees[1], f"{above}{name}/", depth + 1)
        if any(blob is not None for blob in blobs):
            yield f"{above}{name}", blobs[0], blobs[1]


def _file_diff(repo: Repo, path: str, old: Any, new: Any) -> str:
    shown = "".join(c if c.isprintable() else "?" for c in path)
    try:
        before, after = _lines(repo, old), _lines(repo, new)
    except Refused as error:
        return f"# {shown}: {error}\n"
    names = [f"{letter}/{shown}" if side else "/dev/null" for letter, side in (("a", old), ("b", new))]
    found = difflib.unified_diff(before, after, names[0], names[1])
    return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in found)


def _lines(repo: Repo, blob: Any) -> list[str]:
    if blob is None:
        return []
    data = _bytes(repo, blob.binsha, LARGEST_FILE)
    if b"\0" in data:
        raise Refused("binary")
    found = data.decode("utf-8", "replace").splitlines(keepends=True)
    if len(found) > MOST_LINES:
        raise Refused(f"more than {MOST_LINES:,} lines")
    return found
