"""Repositories of honest users of every kind are read and get their branch."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import pytest

from analysis.imports.repository import opened
from analysis.imports.table import UnreadableLog
from meta.outcome.apply import commit_branch
from meta.outcome.branch_commits import Commit
from programs.common.errors import Corrupt
from programs.common.safe_git import BorrowedRepository, repository_above
from tests.analysis.imports.helpers import git, repository

STATES = ["LR = 1\n", "LR = 2\n"]


def plain(folder: Path) -> Path:
    repository(folder / "repo", STATES)
    return folder / "repo"


def packed(folder: Path) -> Path:
    """And detached."""
    git(plain(folder), "gc", "-q", "--prune=now")
    git(folder / "repo", "checkout", "-q", "--detach")
    git(folder / "repo", "multi-pack-index", "write")
    return folder / "repo"


def worktree(folder: Path) -> Path:
    git(plain(folder), "worktree", "add", "-q", "-b", "other", str(folder / "work"))
    return folder / "work"


def submodule(folder: Path) -> Path:
    plain(folder)
    repository(folder / "super", ["X = 1\n"])
    add = ("submodule", "--quiet", "add", str(folder / "repo"), "sub")
    git(folder / "super", "-c", "protocol.file.allow=always", *add)
    return folder / "super" / "sub"


def sha256(folder: Path) -> Path:
    (folder / "repo").mkdir()
    git(folder / "repo", "init", "-q", "--object-format=sha256")
    return plain(folder)


def linked(folder: Path) -> Path:
    """As git-new-workdir makes it."""
    (folder / "repo" / ".git").mkdir(parents=True)
    repository(folder / "real", STATES)
    for name in ("config", "objects", "refs", "packed-refs"):
        (folder / "repo" / ".git" / name).symlink_to(folder / "real" / ".git" / name)
    shutil.copy(folder / "real" / ".git" / "HEAD", folder / "repo" / ".git" / "HEAD")
    git(folder / "repo", "reset", "-q")
    git(folder / "repo", "checkout", "-q", ".")
    return folder / "repo"


def windows(folder: Path) -> Path:
    """The `.git` file of a worktree that a program for Windows wrote."""
    pointer = worktree(folder) / ".git"
    pointer.write_bytes(pointer.read_bytes().replace(b"\n", b"\r\n"))
    return folder / "work"


def sparse(folder: Path) -> Path:
    git(plain(folder), "sparse-checkout", "set", "sub")
    return folder / "repo"


def clone(*options: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        git(plain(folder), "config", "uploadpack.allowFilter", "true")
        git(folder, "clone", "-q", *options, f"file://{folder}/repo", str(folder / "clone"))
        return folder / "clone"

    return make


KINDS = {
    "packed": packed, "worktree": worktree, "submodule": submodule, "sha256": sha256, "sparse": sparse,
    "windows": windows, "blobless": clone("--filter=blob:none"),
}  # fmt: skip
ELSEWHERE = {
    "linked": linked, "shared": clone("--shared", "--reference=repo"), "separate": clone("--separate-git-dir=kept"),
}  # fmt: skip


def commit_one(folder: Path, name: str = "metaloop/x") -> str:
    with BorrowedRepository.open(folder, follow=True) as theirs:
        return commit_branch(theirs, name, [Commit({"sub/new.md": b"new", "train.py": b"LR = 9\n"}, "one\n")])


@pytest.mark.parametrize("kind", [*KINDS, *ELSEWHERE])
def test_repository_of_each_kind_is_read_and_gets_a_branch(tmp_path: Path, kind: str) -> None:
    folder = (KINDS | ELSEWHERE)[kind](tmp_path)
    head = git(folder, "rev-parse", "HEAD")
    with pytest.raises(UnreadableLog) if kind in ELSEWHERE else nullcontext(), opened(folder) as commits:
        joined = commits.join(head[:9])
        assert joined is not None and joined.commit == head
        assert "+LR = 2" in (joined.diff or "") or kind == "blobless"  # which has no parent's file
    assert commit_one(folder) == commit_one(folder) == "metaloop/x"
    assert git(folder, "show", "metaloop/x:train.py") == "LR = 9"
    assert git(folder, "rev-parse", "metaloop/x^", "HEAD") == f"{head}\n{head}"
    assert git(folder, "status", "--porcelain") == "" and git(folder, "fsck") == ""


def test_commit_has_the_identity_of_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = plain(tmp_path)
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".gitconfig").write_text("[user]\n\tname = Global\n\temail = global@example.org\n")
    git(folder, "config", "user.email", "here@example.org")
    commit_one(folder)
    assert git(folder, "log", "-1", "--format=%an %ae %cn", "metaloop/x") == "Global here@example.org Global"
    monkeypatch.setenv("GIT_AUTHOR_NAME", "Ann")
    with (tmp_path / ".gitconfig").open("a") as settings:
        settings.write(f'[includeIf "gitdir:{folder}/"]\n\tpath = at-work\n')
    (tmp_path / "at-work").write_text("[user]\n\tname = Work\n")
    commit_one(folder, "metaloop/y")
    assert git(folder, "log", "-1", "--format=%an %cn", "metaloop/y") == "Ann Work"


def test_branch_keeps_modes_and_a_name_that_is_taken_is_refused(tmp_path: Path) -> None:
    folder = plain(tmp_path)
    (folder / "train.py").chmod(0o755)
    git(folder, "commit", "-qam", "executable")
    with BorrowedRepository.open(folder) as theirs:
        sizes = [theirs.file(theirs.head, "train.py", most) for most in (6, 7)]
    assert sizes == [None, b"LR = 2\n"], "of more bytes than asked for it is none"
    commit_one(folder)
    assert git(folder, "ls-tree", "metaloop/x", "train.py").startswith("100755")
    git(folder, "branch", "-D", "metaloop/x")
    git(folder, "branch", "metaloop")
    with pytest.raises(Corrupt, match="'refs/heads/metaloop' exists") as caught:
        commit_one(folder)
    assert "\n" not in caught.value.message


def test_repository_without_a_commit_or_files_is_read(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    with BorrowedRepository.open(tmp_path) as theirs:
        assert theirs.head == ""
    with opened(tmp_path) as commits:
        assert commits.join("0123abc") is None
    assert repository_above(tmp_path / "a" / "b") == tmp_path
    git(plain(tmp_path), "clone", "-q", "--bare", ".", str(tmp_path / "bare"))
    with opened(tmp_path / "bare") as commits:
        assert commits.join(git(tmp_path / "bare", "rev-parse", "HEAD")) is not None
