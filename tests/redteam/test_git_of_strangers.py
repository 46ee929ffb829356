"""git in the repository of somebody else, at `improve --apply`, `import` and `home audit`: nothing of it runs, and
nothing in it holds the command."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from analysis.imports.repository import opened
from analysis.imports.table import UnreadableLog
from arena.home.chain import Chain, merged
from meta.results.apply import committed
from programs.errors import Corrupt
from programs.safe_git import BorrowedRepository
from tests.analysis.imports.helpers import ask, bring_in, git, repository
from tests.analysis.imports.samples import tsv
from trainer.task import Task

SECONDS = 25  # where the attacks took minutes, or never ended
HOOKS = [
    "pre-commit",
    "commit-msg",
    "post-commit",
    "prepare-commit-msg",
    "post-index-change",
    "reference-transaction",
    "post-checkout",
    "post-rewrite",
    "pre-auto-gc",
    "fsmonitor-watchman",
]
STATES = ["LR = 1\n", "LR = 2\n", "LR = 3\n"]
PIPES = ["config", "HEAD", "commondir", "objects/LOOSE", "objects/pack/INDEX", "objects/info/alternates",
         "objects/info/commit-graph", "objects/pack/multi-pack-index", "packed-refs", "refs/heads/extra"]  # fmt: skip


def apply_branch(folder: Path, name: str = "metaloop/x", path: str = "new.md") -> str:
    with BorrowedRepository.open(folder, follow=True) as theirs:
        return committed(theirs, name, {path: b"# New\n"}, "a message\n")


def state(folder: Path) -> dict[str, bytes]:
    """The working tree, the index and HEAD of a repository."""
    files = [path for path in folder.rglob("*") if ".git" not in path.parts and path.is_file()]
    return {str(path): path.read_bytes() for path in [*files, folder / ".git" / "index", folder / ".git" / "HEAD"]}


@pytest.fixture
def trap(tmp_path: Path) -> Path:
    """A program that leaves a file beside it."""
    path = tmp_path / "trap.sh"
    path.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\necho changed > train.py 2>/dev/null\nexit 0\n")
    path.chmod(0o755)
    return path


def ran(trap: Path) -> bool:
    return trap.with_name("ran").exists()


def put_pipe(git_folder: Path, place: str) -> Path:
    """A FIFO in place of a file of the repository, or beside the files of that kind."""
    if place == "objects/LOOSE":
        path = next(p for p in (git_folder / "objects").glob("??/*"))
    elif place == "objects/pack/INDEX":
        path = git_folder / "objects" / "pack" / f"pack-{'1' * 40}.idx"
        path.with_suffix(".pack").write_bytes(b"PACK")
    else:
        path = git_folder / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    os.mkfifo(path)
    return path


def end_in_time(*words: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """The command line in a process; raises TimeoutExpired where it hangs."""
    command = [sys.executable, "-m", "meta.cli.main", *map(str, words)]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=SECONDS, check=False, stdin=subprocess.DEVNULL, cwd=cwd
    )


def with_log(folder: Path) -> list[str]:
    hashes = repository(folder, STATES)
    rows = [f"{name}|{3 - number}|1|keep|step {number}" for number, name in enumerate(hashes)]
    (folder / "results.tsv").write_text(tsv("commit|val_bpb|memory_gb|status|description", *rows))
    return hashes


@pytest.mark.parametrize("by_setting", [False, True])
def test_apply_hooks_of_the_repository_do_not_run(tmp_path: Path, trap: Path, by_setting: bool) -> None:
    folder = tmp_path / "repo"
    repository(folder, STATES)
    hooks = tmp_path / "hooks" if by_setting else folder / ".git" / "hooks"
    hooks.mkdir(exist_ok=True)
    for name in HOOKS:
        (hooks / name).symlink_to(trap)
    if by_setting:
        git(folder, "config", "core.hooksPath", str(hooks))
    git(folder, "update-ref", "refs/heads/by-git", "HEAD")
    assert ran(trap), "the trap is none"
    trap.with_name("ran").unlink()
    git(folder, "checkout", "--", "train.py")
    trap.with_name("ran").unlink(missing_ok=True)
    before = state(folder)
    assert apply_branch(folder) == "metaloop/x"
    assert not ran(trap) and state(folder) == before
    assert git(folder, "show", "metaloop/x:new.md") == "# New" and git(folder, "fsck", "--strict") == ""


def test_apply_promisor_remote_is_not_asked(tmp_path: Path, trap: Path) -> None:
    folder = tmp_path / "repo"
    repository(folder, STATES)
    blob = git(folder, "rev-parse", "HEAD:train.py")
    for key, value in {
        "core.repositoryformatversion": "1", "extensions.partialClone": "evil", "remote.evil.url": f"ext::{trap} %S",
        "remote.evil.promisor": "true", "remote.evil.partialclonefilter": "blob:none", "protocol.ext.allow": "always",
    }.items():  # fmt: skip
        git(folder, "config", key, value)
    (folder / ".git" / "objects" / blob[:2] / blob[2:]).unlink()
    subprocess.run(["git", "cat-file", "-p", blob], cwd=folder, capture_output=True, timeout=SECONDS, check=False)
    assert ran(trap), "the trap is none"
    trap.with_name("ran").unlink()
    with BorrowedRepository.open(folder, follow=True) as theirs, pytest.raises(Corrupt, match=r"train\.py"):
        theirs.file(theirs.head, "train.py")
    assert apply_branch(folder) == "metaloop/x"
    assert not ran(trap)


@pytest.mark.parametrize("source", ["/dev/zero", "pipe"])
@pytest.mark.timeout(60)
def test_apply_included_settings_are_not_read(tmp_path: Path, source: str) -> None:
    folder = tmp_path / "repo"
    repository(folder, STATES)
    os.mkfifo(tmp_path / "pipe")
    with (folder / ".git" / "config").open("a") as config:
        config.write(f"[include]\n\tpath = {source if source.startswith('/') else tmp_path / source}\n")
    assert apply_branch(folder) == "metaloop/x"


@pytest.mark.parametrize("place", PIPES)
@pytest.mark.timeout(60)
def test_apply_pipe_in_the_repository_ends_at_once(tmp_path: Path, place: str) -> None:
    folder = tmp_path / "repo"
    repository(folder, STATES)
    pipe = put_pipe(folder / ".git", place)
    with pytest.raises(Corrupt, match="not a regular file") as caught:
        apply_branch(folder)
    assert pipe.name in caught.value.message and "\n" not in caught.value.message


def test_apply_link_in_place_of_a_folder_of_objects_is_refused(tmp_path: Path) -> None:
    folder, outside = tmp_path / "repo", tmp_path / "outside"
    repository(folder, STATES)
    outside.mkdir()
    for number in range(256):
        place = folder / ".git" / "objects" / f"{number:02x}"
        if not place.exists():
            place.symlink_to(outside)
    with pytest.raises(Corrupt, match="not a regular file"):
        apply_branch(folder)
    assert not list(outside.iterdir())


def test_apply_committed_link_is_replaced_by_a_file(tmp_path: Path) -> None:
    folder = tmp_path / "repo"
    repository(folder, STATES)
    (folder / "new.md").symlink_to("/etc/passwd")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "a link")
    apply_branch(folder)
    assert git(folder, "ls-tree", "metaloop/x", "new.md").startswith("100644 blob")


@pytest.mark.parametrize("place", PIPES)
def test_import_pipe_in_the_repository_loses_only_diffs(tmp_path: Path, place: str) -> None:
    with_log(tmp_path / "logs")
    put_pipe(tmp_path / "logs" / ".git", place)
    done = end_in_time("import", tmp_path / "logs" / "results.tsv", "-s", tmp_path / "study")
    assert done.returncode == 0, done.stderr
    assert "not a regular file" in done.stdout + done.stderr


@pytest.mark.parametrize("source", ["/dev/zero", "pipe"])
def test_import_included_settings_are_not_read(tmp_path: Path, source: str) -> None:
    with_log(tmp_path / "logs")
    os.mkfifo(tmp_path / "pipe")
    with (tmp_path / "logs" / ".git" / "config").open("a") as config:
        config.write(f"[include]\n\tpath = {source if source.startswith('/') else tmp_path / source}\n")
    done = end_in_time("import", tmp_path / "logs" / "results.tsv", "-s", tmp_path / "study")
    assert done.returncode == 0, done.stderr
    assert [row["commits_joined"] for row in ask(tmp_path, "FROM imports")] == [3]


def by_alternates(folder: Path, secret: Path) -> None:
    (folder / ".git" / "objects" / "info" / "alternates").write_text(f"{secret}/.git/objects\n")


def by_relative_alternates(folder: Path, secret: Path) -> None:
    (folder / ".git" / "objects" / "info" / "alternates").write_text(f"../../../{secret.name}/.git/objects\n")


def by_linked_objects(folder: Path, secret: Path) -> None:
    (folder / ".git" / "objects").rename(folder / ".git" / "own")
    (folder / ".git" / "objects").symlink_to(secret / ".git" / "objects")


def by_linked_pack(folder: Path, secret: Path) -> None:
    git(secret, "repack", "-adq")
    (folder / ".git" / "objects" / "pack").rmdir()
    (folder / ".git" / "objects" / "pack").symlink_to(secret / ".git" / "objects" / "pack")


def by_commondir(folder: Path, secret: Path) -> None:
    (folder / ".git" / "commondir").write_text(f"{secret}/.git\n")


def by_git_file(folder: Path, secret: Path) -> None:
    (folder / ".git").rename(folder / "own")
    (folder / ".git").write_text(f"gitdir: {secret}/.git\n")


def by_forged_worktree(folder: Path, secret: Path) -> None:
    """A folder of a worktree within the stranger's, which points to the other repository."""
    worktree = folder / "forged" / "worktrees" / "x"
    worktree.mkdir(parents=True)
    (worktree / "HEAD").write_text("ref: refs/heads/main\n")
    (worktree / "commondir").write_text(f"{secret}/.git\n")
    (worktree / "gitdir").write_text(f"{folder}/.git\n")
    (folder / ".git").rename(folder / "own")
    (folder / ".git").write_text(f"gitdir: {worktree}\n")


def by_linked_git(folder: Path, secret: Path) -> None:
    (folder / ".git").rename(folder / "own")
    (folder / ".git").symlink_to(secret / ".git")


ROADS = [by_alternates, by_relative_alternates, by_linked_objects, by_linked_pack, by_commondir, by_git_file,
         by_forged_worktree, by_linked_git]  # fmt: skip


@pytest.mark.parametrize("road", ROADS, ids=lambda road: str(road.__name__))
def test_import_other_repository_of_the_machine_is_not_read(tmp_path: Path, road: Callable[[Path, Path], None]) -> None:
    """A log that lists all short hashes would bring the diffs of a private repository into a study that is shared."""
    folder, secret = tmp_path / "logs", tmp_path / "secret"
    with_log(folder)
    private = repository(secret, ["KEY = 1\n", "KEY = 2\n"])
    road(folder, secret)
    with pytest.raises(UnreadableLog), opened(folder) as commits:
        assert commits.join(private[1]) is None
    [run] = bring_in(tmp_path, {"results.tsv": tsv("commit|val_bpb|status|description", f"{private[1]}|1|keep|x")})
    assert run["commits_joined"] == 0 and run["repository_note"]


def chain_of_stranger(folder: Path) -> Chain:
    chain, task = Chain(folder), Task.load("strokes")
    chain.create()
    chain.append(dict(task.baseline().files), f"Block 0: the baseline of {task.name}", "", "host", "")
    return chain


@pytest.mark.parametrize("place", PIPES)
def test_audit_pipe_in_the_clone_ends_at_once(tmp_path: Path, place: str) -> None:
    chain = chain_of_stranger(tmp_path / "main.git")
    put_pipe(chain.folder, place)
    done = end_in_time("home", "audit", chain.folder, "--blocks", "0")
    assert done.returncode == 1 and "not a regular file" in done.stderr, done.stderr


def test_audit_objects_of_another_repository_are_not_read(tmp_path: Path) -> None:
    chain = chain_of_stranger(tmp_path / "main.git")
    other = chain_of_stranger(tmp_path / "other.git")
    (chain.folder / "objects" / "info").mkdir(exist_ok=True)
    (chain.folder / "objects" / "info" / "alternates").write_text(f"{other.folder}/objects\n")
    done = end_in_time("home", "audit", chain.folder, "--blocks", "0")
    assert done.returncode == 1 and "alternates" in done.stderr


@pytest.mark.timeout(60)
def test_git_settings_of_the_current_folder_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A merge of texts, in a process whose current folder is the repository of a stranger."""
    repository(tmp_path / "repo", STATES)
    os.mkfifo(tmp_path / "pipe")
    with (tmp_path / "repo" / ".git" / "config").open("a") as config:
        config.write(f"[include]\n\tpath = {tmp_path}/pipe\n")
    monkeypatch.chdir(tmp_path / "repo")
    base = "".join(f"line {number}\n" for number in range(9))
    assert merged(base, base.replace("1", "a"), base.replace("8", "b")) == base.replace("1", "a").replace("8", "b")
