"""`main` of a project: a bare git repository whose commits are the blocks, served to be read only.

A commit's message ends in trailers that hold everything its test was decided by; git's own chain of hashes makes them
unalterable for all who have a later commit.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from analysis.ledger.json_values import first_fault, read_as
from programs.common.errors import Corrupt
from programs.common.git_command import run
from programs.common.safe_git import BorrowedRepository, GitFolder
from programs.common.text import one_line

BRANCH = "refs/heads/main"
AUTHOR = "volunteer"
COMMITTER = {"GIT_COMMITTER_NAME": "metaloop home", "GIT_COMMITTER_EMAIL": "host@invalid"}
FILE = "100644"  # mode of all files
MOST_READ = 64  # commits whose files are kept in memory
MOST_BYTES = 16 << 20  # of a commit's files
SEVERAL = ("seeds", "splits", "differences", "void")  # trailers with several words
_MARK = 60
_CONFLICT = re.compile(
    rf"^<{{{_MARK}}} [^\n]*\n(.*?)^\|{{{_MARK}}} [^\n]*\n(.*?)^={{{_MARK}}}\n(.*?)^>{{{_MARK}}} [^\n]*\n", re.M | re.S
)


class Entry:
    """The trailers of a commit, in the order of the fields."""

    def lines(self) -> str:
        return "".join(
            f"{name.capitalize()}: {' '.join(map(str, value)) if isinstance(value, tuple) else one_line(str(value))}\n"
            for name, value in vars(self).items()
        )


@dataclass(frozen=True)
class Trailers(Entry):
    """``seeds`` and ``differences``: of the pairs, in order, differences as Python's ``repr`` of a float."""

    block: int
    proposal: int
    proposer: int  # number of the volunteer
    base: str
    gain: float
    low: float
    high: float
    unit: str
    test: int
    level: float
    log_e: float
    seeds: tuple[int, ...]
    splits: tuple[str, ...]
    differences: tuple[float, ...]
    ledger: str


@dataclass(frozen=True)
class Voided(Entry):
    """The trailers of a commit that restores the main before the first of the blocks ``void``."""

    block: int
    void: tuple[int, ...]
    because: str
    base: str
    ledger: str


def read_entry(message: str) -> Trailers | Voided | None:
    """The trailers of a commit's message; None without any. Raises Corrupt for trailers that are not complete."""
    rows = (line.partition(": ") for line in message.rstrip("\n").rpartition("\n\n")[2].split("\n"))
    values = {name.lower(): value for name, colon, value in rows if colon}
    if "block" not in values:
        return None
    kind: type[Trailers | Voided] = Voided if "void" in values else Trailers
    parts = {name: text.split() if name in SEVERAL else text for name, text in values.items()}
    try:
        return read_as(kind, parts)
    except ValidationError as error:
        raise Corrupt(f"the trailers of block {values['block']} are damaged: {first_fault(error)}") from None


class Chain(GitFolder):
    """The repository in ``folder``."""

    hint = "metaloop home audit checks the repository"

    def __init__(self, folder: Path, name: Path | None = None) -> None:
        super().__init__(folder, name)
        self._read: dict[str, dict[str, str]] = {}  # files of a commit, which never change

    @classmethod
    @contextmanager
    def borrowed(cls, folder: Path) -> Iterator[Chain]:
        """Main of a clone that may come from someone else: nothing of it is executed. Raises Corrupt."""
        with BorrowedRepository.open(folder) as clone:
            yield cls(clone.folder, folder)

    def create(self) -> None:
        self.git("init", "--quiet", "--bare", "--initial-branch=main")

    @property
    def head(self) -> str:
        """The commit of main; empty before the first block."""
        return self.git("for-each-ref", "--format=%(objectname)", BRANCH).strip()

    def files(self, commit: str) -> dict[str, str]:
        """Path and text of each file of a commit."""
        if commit not in self._read:
            rows = [row.split(maxsplit=4) for row in self.git("ls-tree", "-r", "-z", "-l", commit).split("\0") if row]
            sizes = [int(size) if mode == FILE and size.isdigit() else MOST_BYTES for mode, _, _, size, _ in rows]
            if sum(sizes) >= MOST_BYTES:
                message = f"{self._name}: {commit[:10]} lacks a file, has a link, or {MOST_BYTES:,} bytes or more"
                raise Corrupt(message, hint="a block is a few files of text")
            files = {name: self.git("cat-file", "blob", blob) for _, _, blob, _, name in rows}
            if len(self._read) >= MOST_READ:
                self._read.clear()
            self._read[commit] = files
            return dict(files)
        return dict(self._read[commit])

    def message(self, commit: str) -> str:
        return self.git("log", "-1", "--no-show-signature", "--format=%B", commit)

    def entry(self, commit: str) -> Trailers | Voided | None:
        """The trailers of a commit. Raises Corrupt for damaged ones."""
        return read_entry(self.message(commit))

    def parents(self, commit: str) -> list[str]:
        return self.git("rev-parse", f"{commit}^@").split()

    def commits(self) -> list[str]:
        """Those of main, the first one first."""
        return self.git("rev-list", "--reverse", BRANCH).split()

    def append(self, files: Mapping[str, str], subject: str, trailers: str, author: str, parent: str) -> str:
        """A commit on main with these files alone, after ``parent``, which must be its head. Readers see it at once."""
        tree = self.write_tree({path: text.encode() for path, text in files.items()})
        name = one_line(author)[:60].translate(str.maketrans("", "", "<>")).strip()
        name = name if any(map(str.isalnum, name)) else AUTHOR  # git refuses a name of signs alone
        who = {"GIT_AUTHOR_NAME": name, "GIT_AUTHOR_EMAIL": "volunteer@invalid", **COMMITTER}
        message = f"{one_line(subject)}\n\n{trailers}"
        commit = self.write_commit(tree, parent, message, who)
        self.git("update-ref", BRANCH, commit, parent)
        self.publish()
        return commit

    def publish(self) -> None:
        """Write what clones over HTTP read to find the head of main."""
        self.git("update-server-info")

    def check(self) -> str:
        """What git finds wrong with the objects of main; empty if nothing."""
        done = self.attempt("fsck", "--full", "--strict", "--no-dangling")
        said = (done.stderr or done.stdout).decode(errors="replace").strip().splitlines()
        return "\n".join(said[:1]) or f"exit code {done.returncode}" if done.returncode else ""


def merged(base: str, ours: str, theirs: str) -> str | None:
    """The three-way merge of a text, None if both changed a line. Neighbouring lines are values apart where neither
    side added or removed any, as in a list of settings, which git by itself refuses."""
    if base == ours or ours == theirs:
        return theirs
    if base == theirs:
        return ours
    with tempfile.TemporaryDirectory(prefix="metaloop-merge-") as folder:
        paths = [Path(folder, name) for name in ("ours", "base", "theirs")]
        for path, text in zip(paths, (ours, base, theirs), strict=True):
            path.write_bytes(text.encode())
        done = run(["merge-file", "-p", "-q", "--diff3", f"--marker-size={_MARK}", *map(str, paths)])
    if done.returncode == 0:
        return done.stdout.decode()
    # marks in a text are no conflicts, and to look for those among them takes hours
    if done.returncode > 127 or any(mark * _MARK in text for mark in "<|=>" for text in (base, ours, theirs)):
        return None
    parts = _CONFLICT.split(done.stdout.decode())
    regions = zip(parts[1::4], parts[2::4], parts[3::4], strict=True)
    for index, (mine, before, other) in zip(range(1, len(parts), 4), regions, strict=True):
        parts[index : index + 3] = [_by_lines(mine, before, other), "", ""]
    return None if None in parts else "".join(part for part in parts if part)


def _by_lines(ours: str, base: str, theirs: str) -> str | None:
    """A conflict line by line; None unless each line was changed by one side at most."""
    rows = [text.splitlines(keepends=True) for text in (ours, base, theirs)]
    if len({len(lines) for lines in rows}) > 1:
        return None
    out: list[str] = []
    for mine, before, other in zip(*rows, strict=True):
        if before not in (mine, other) and mine != other:
            return None
        out.append(other if mine == before else mine)
    return "".join(out)
