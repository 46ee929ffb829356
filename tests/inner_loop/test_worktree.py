"""What a stranger leaves in a worktree is read and never run."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path

import pytest

from inner_loop import worktree as trees
from inner_loop.worktree import read_file, safe_git
from programs.errors import EnvironmentProblem, UsageError

IDENTITY = ("-c", "user.name=x", "-c", "user.email=x@localhost")


def plain_git(folder: Path, *words: str) -> None:
    """git as anybody would call it, with none of the precautions."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    subprocess.run(["git", *IDENTITY, *words], cwd=folder, env=clean, capture_output=True, check=False)


@pytest.fixture
def trap(tmp_path: Path) -> Path:
    """A program that leaves a mark beside itself when somebody runs it."""
    script = tmp_path / "trap"
    script.write_text(f"#!/bin/sh\necho $0 $* >> {tmp_path}/sprung\ncat 2>/dev/null\nexit 0\n")
    script.chmod(0o755)
    return script


@pytest.fixture
def worktree(tmp_path: Path, trap: Path) -> Path:
    """A repository whose hooks, configuration and attributes all name the trap."""
    folder = tmp_path / "worktree"
    folder.mkdir()
    plain_git(folder, "init", "-q")
    (folder / "train.py").write_text("one\n")
    plain_git(folder, "add", "train.py")
    plain_git(folder, "commit", "-qm", "one")
    for hook in ("pre-commit", "post-checkout", "post-index-change", "reference-transaction", "fsmonitor-watchman"):
        (folder / ".git" / "hooks" / hook).write_text(f"#!/bin/sh\nexec {trap}\n")
        (folder / ".git" / "hooks" / hook).chmod(0o755)
    drivers = ("diff.evil.textconv", "diff.evil.command", "filter.evil.clean", "filter.evil.smudge")
    settings = ("core.fsmonitor", "core.pager", "core.editor", "diff.external", "gpg.program", *drivers)
    with (folder / ".git" / "config").open("a") as config:
        for key in settings:
            section, _, name = key.rpartition(".")
            head, _, driver = section.partition(".")
            config.write(f"[{head}{f' {chr(34)}{driver}{chr(34)}' if driver else ''}]\n\t{name} = {trap}\n")
    (folder / ".gitattributes").write_text("* filter=evil diff=evil\n")
    (folder / "train.py").write_text("two and more\n")
    return folder


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "ours.git"
    plain_git(tmp_path, "init", "-q", "--bare", str(folder))
    return folder


def test_the_trap_springs_for_a_plain_git(worktree: Path, trap: Path) -> None:
    plain_git(worktree, "status")
    assert trap.with_name("sprung").exists()


def test_our_git_over_the_same_files_runs_nothing(worktree: Path, repository: Path, trap: Path) -> None:
    git = safe_git(worktree, repository)
    git.run("add", "-A")
    git.run(*IDENTITY, "commit", "-qm", "theirs")
    (worktree / "train.py").write_text("three\n")
    assert git.run("status", "--porcelain") == " M train.py\n"
    assert "+three" in git.run("diff") and "two and more" in git.run("show", "HEAD:train.py")
    git.run("checkout", "-f", "HEAD", "--", "train.py")
    assert (worktree / "train.py").read_text() == "two and more\n"
    assert "Author" in git.run("log", "-p")
    assert not trap.with_name("sprung").exists()


def test_no_transport_and_no_user_settings(worktree: Path, repository: Path, trap: Path) -> None:
    git = safe_git(worktree, repository)
    with pytest.raises(EnvironmentProblem, match="git fetch failed"):
        git.run("fetch", f"ext::{trap}")
    with pytest.raises(EnvironmentProblem, match="git fetch failed"):
        git.run("fetch", str(worktree))  # upload-pack would run in the stranger's repository
    assert not trap.with_name("sprung").exists()
    environment = git.environment()
    assert environment["GIT_CONFIG_GLOBAL"] == "/dev/null" and environment["HOME"] == "/nonexistent"


def test_a_nested_repository_and_one_that_an_agent_can_write_are_refused(worktree: Path, repository: Path) -> None:
    (worktree / "inner" / ".git").mkdir(parents=True)
    with pytest.raises(UsageError, match="holds another repository"):
        safe_git(worktree, repository).run("status")
    with pytest.raises(UsageError, match="lies in the agent's worktree"):
        safe_git(worktree, worktree / ".git")


def test_files_are_read_without_following_links(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "sub").mkdir(parents=True)
    (root / "sub" / "file").write_bytes(b"data")
    (tmp_path / "secret").write_text("secret")
    (root / "link").symlink_to(tmp_path / "secret")
    (root / "folder").symlink_to(tmp_path)
    os.mkfifo(root / "fifo")
    (root / "sparse").touch()
    os.truncate(root / "sparse", 1 << 40)
    assert read_file(root, "sub/file", 4) == b"data"
    for name in ("link", "folder/secret", "fifo", "sparse", "sub", "../secret", "/etc/passwd", "", "none", "sub//file"):
        with pytest.raises(UsageError):
            read_file(root, name, 100)
    with pytest.raises(UsageError, match="more than 3 bytes"):
        read_file(root, "sub/file", 3)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_root_gives_a_folder_and_takes_it_back_without_what_sets_a_user(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "sub").mkdir(parents=True)
    (root / "sub" / "file").write_text("")
    (tmp_path / "other").write_text("")
    (root / "link").symlink_to(tmp_path / "other")
    trees.give(root, 54321)
    assert {path.lstat().st_uid for path in (root, root / "sub", root / "sub" / "file", root / "link")} == {54321}
    assert (tmp_path / "other").stat().st_uid == 0
    (root / "sub" / "file").chmod(0o6755)
    assert trees.take_back(root, 0, 0)
    status = (root / "sub" / "file").stat()
    assert status.st_uid == 0 and not status.st_mode & (stat.S_ISUID | stat.S_ISGID)


def test_what_is_nested_too_deeply_is_told_and_not_a_crash(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    script = "import os\nfor _ in range(3000): os.mkdir('d'); os.chdir('d')"
    subprocess.run(["python3", "-c", script], cwd=root, check=True)
    with pytest.raises(trees.TooMuch, match="cannot be read"):
        trees.size_mb(root)
    subprocess.run(["rm", "-rf", str(root)], check=True)
