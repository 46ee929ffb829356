"""Repositories of honest users of every kind are read and get their branch."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from analysis.imports.repository import opened
from meta.results.apply import committed
from programs.errors import Corrupt
from programs.safe_git import BorrowedRepository, repository_above
from tests.analysis.imports.helpers import git, repository

STATES = ["LR = 1\n", "LR = 2\n"]


def plain(folder: Path) -> Path:
    repository(folder / "repo", STATES)
    return folder / "repo"


def packed(folder: Path) -> Path:
    git(plain(folder), "gc", "-q", "--prune=now")
    git(folder / "repo", "multi-pack-index", "write")
    return folder / "repo"


def detached(folder: Path) -> Path:
    git(plain(folder), "checkout", "-q", "--detach")
    return folder / "repo"


def worktree(folder: Path) -> Path:
    git(plain(folder), "worktree", "add", "-q", "-b", "other", str(folder / "work"))
    return folder / "work"


def submodule(folder: Path) -> Path:
    plain(folder)
    repository(folder / "super", ["X = 1\n"])
    git(
        folder / "super", "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(folder / "repo"), "sub"
    )
    return folder / "super" / "sub"


def sha256(folder: Path) -> Path:
    (folder / "repo").mkdir()
    git(folder / "repo", "init", "-q", "--object-format=sha256")
    return plain(folder)


KINDS = [plain, packed, detached, worktree, submodule, sha256]


def commit_one(folder: Path, name: str = "metaloop/x") -> str:
    with BorrowedRepository.open(folder, follow=True) as theirs:
        return committed(theirs, name, {"sub/new.md": b"new", "train.py": b"LR = 9\n"}, "one\n")


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: str(kind.__name__))
def test_repository_of_each_kind_is_read_and_gets_a_branch(tmp_path: Path, kind: Callable[[Path], Path]) -> None:
    folder = kind(tmp_path)
    head = git(folder, "rev-parse", "HEAD")
    with opened(folder) as commits:
        joined = commits.join(head[:9])
    assert joined is not None and joined.commit == head and "+LR = 2" in (joined.diff or "")
    assert commit_one(folder) == commit_one(folder) == "metaloop/x"
    assert git(folder, "show", "metaloop/x:train.py") == "LR = 9"
    assert git(folder, "rev-parse", "metaloop/x^", "HEAD") == f"{head}\n{head}"
    assert git(folder, "status", "--porcelain") == "" and git(folder, "fsck") == ""


@pytest.mark.parametrize("road", ["--shared", "--separate-git-dir=../kept"])
def test_objects_elsewhere_are_used_where_the_user_applies(tmp_path: Path, road: str) -> None:
    git(plain(tmp_path), "clone", "-q", road, ".", str(tmp_path / "clone"))
    assert commit_one(tmp_path / "clone") == "metaloop/x"
    assert git(tmp_path / "clone", "show", "metaloop/x:sub/new.md") == "new"


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
    commit_one(folder, "metaloop/y")
    assert git(folder, "log", "-1", "--format=%an %cn", "metaloop/y") == "Ann Global"


def test_branch_of_the_folders_name_is_one_line(tmp_path: Path) -> None:
    folder = plain(tmp_path)
    git(folder, "branch", "metaloop")
    with pytest.raises(Corrupt, match="'refs/heads/metaloop' exists") as caught:
        commit_one(folder)
    assert "\n" not in caught.value.message


def test_repository_without_a_commit_has_no_head(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    with BorrowedRepository.open(tmp_path) as theirs:
        assert theirs.head == ""
    assert repository_above(tmp_path / "a" / "b") == tmp_path


def test_executable_file_stays_executable(tmp_path: Path) -> None:
    folder = plain(tmp_path)
    (folder / "train.py").chmod(0o755)
    git(folder, "commit", "-qam", "executable")
    commit_one(folder)
    assert git(folder, "ls-tree", "metaloop/x", "train.py").startswith("100755")
