"""`main` of a project: a bare git repository whose commits are the blocks, served to be read only.

A commit's message ends in trailers that hold everything its test was decided by; git's own chain of hashes makes them
unalterable for all who have a later commit.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
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


class BlockTrailers:
    """The trailers of a commit, in the order of the fields."""

    def lines(self) -> str:
        return "".join(
            f"{name.capitalize()}: {' '.join(map(str, value)) if isinstance(value, tuple) else one_line(str(value))}\n"
            for name, value in vars(self).items()
        )


@dataclass(frozen=True)
class Trailers(BlockTrailers):
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
class Voided(BlockTrailers):
    """The trailers of a commit that restores the main before the first of the blocks ``void``."""

    block: int
    void: tuple[int, ...]
    because: str
    base: str
    ledger: str


def read_trailers(message: str) -> Trailers | Voided | None:
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


@dataclass(frozen=True)
class Block:
    """A commit of main. ``trailers``: its trailers; block 0 has none. ``void``: why it does not count; else empty."""

    number: int
    commit: str
    merged_at: str
    trailers: Trailers | Voided | None
    void: str = ""

    @property
    def merge(self) -> Trailers | None:
        """Its trailers where it merged a proposal."""
        return self.trailers if isinstance(self.trailers, Trailers) else None


class Chain(GitFolder):
    """The repository in ``folder``."""

    hint = "metaloop home audit checks the repository"

    def __init__(self, folder: Path, name: Path | None = None) -> None:
        super().__init__(folder, name)
        self._read: dict[str, dict[str, str]] = {}  # files of a commit, which never change
        self._blocks: list[Block] = []

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

    def trailers(self, commit: str) -> Trailers | Voided | None:
        """The trailers of a commit. Raises Corrupt for damaged ones."""
        return read_trailers(self.message(commit))

    def parents(self, commit: str) -> list[str]:
        return self.git("rev-parse", f"{commit}^@").split()

    def commits(self) -> list[str]:
        """Those of main, the first one first."""
        return self.git("rev-list", "--reverse", BRANCH).split()

    def blocks(self) -> list[Block]:
        """Those of our own main, the first one first. Raises Corrupt for damaged trailers."""
        ref, known = self.folder / BRANCH, self._blocks
        head = ref.read_text().strip() if ref.is_file() else self.head  # without a process, as pages ask for it
        if not known or known[-1].commit != head:
            text = self.git("log", "--reverse", "--no-show-signature", "--format=%H %ct%n%B%x00", BRANCH)
            known = []
            for number, row in enumerate(text.split("\0")[:-1]):
                about, _, message = row.strip("\n").partition("\n")
                commit, _, seconds = about.partition(" ")
                merged_at = datetime.fromtimestamp(int(seconds), UTC).isoformat(timespec="seconds")
                trailers = read_trailers(message)
                known.append(Block(number, commit, merged_at, trailers))
                if isinstance(trailers, Voided):
                    first = min(trailers.void)
                    for void in trailers.void:
                        because = trailers.because if void == first else f"it was built on block {first}"
                        known[void] = replace(known[void], void=because)
            self._blocks = known
        return known

    def block_of(self, proposal_id: int) -> int | None:
        """The last block that merged a proposal."""
        merges = ((block.number, block.merge) for block in reversed(self.blocks()))
        return next((number for number, merge in merges if merge and merge.proposal == proposal_id), None)

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
        lines = (done.stderr or done.stdout).decode(errors="replace").strip().splitlines()
        return "\n".join(lines[:1]) or f"exit code {done.returncode}" if done.returncode else ""


def merged(base: str, ours: str, theirs: str) -> str | None:
    """The three-way merge of a text, None if both changed a line. Where git refuses neighbouring lines, as in a list of
    settings, each line counts by itself if neither side added or removed any."""
    if base == ours or ours == theirs:
        return theirs
    if base == theirs:
        return ours
    with tempfile.TemporaryDirectory(prefix="metaloop-merge-") as folder:
        paths = [Path(folder, name) for name in ("ours", "base", "theirs")]
        for path, text in zip(paths, (ours, base, theirs), strict=True):
            path.write_bytes(text.encode())
        done = run(["merge-file", "-p", "-q", *map(str, paths)])
    if done.returncode == 0:
        return done.stdout.decode()
    rows = [text.splitlines(keepends=True) for text in (ours, base, theirs)]
    if len({len(lines) for lines in rows}) > 1:
        return None
    out: list[str] = []
    for own_line, before, other in zip(*rows, strict=True):
        if before not in (own_line, other) and own_line != other:
            return None
        out.append(other if own_line == before else own_line)
    return "".join(out)
