"""git in the repository of somebody else, at `improve --apply`, `import` and `home audit`: nothing of it runs, and
nothing in it holds the command."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from analysis.imports.repository import opened
from analysis.imports.table import UnreadableLog
from arena.home.chain import merged
from meta.cli.main import run as main
from meta.outcome.apply import commit_branch
from meta.outcome.branch_commits import Commit
from programs.common.errors import Corrupt
from programs.common.safe_git import BorrowedRepository
from tests.analysis.imports.helpers import bring_in, git, repository
from tests.analysis.imports.samples import tsv

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
pytestmark = pytest.mark.timeout(60)  # where the attacks took minutes, or never ended
PIPES = ["config", "HEAD", "objects/LOOSE", "objects/pack/INDEX", "objects/info/alternates",
         "objects/info/commit-graph", "objects/pack/multi-pack-index", "packed-refs", "refs/heads/extra"]  # fmt: skip


def apply_branch(folder: Path, name: str = "metaloop/x", path: str = "new.md") -> str:
    with BorrowedRepository.open(folder, follow=True) as theirs:
        return commit_branch(theirs, name, [Commit({path: b"# New\n"}, "a message\n")])


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
    subprocess.run(["git", "cat-file", "-p", blob], cwd=folder, capture_output=True, timeout=25, check=False)
    assert ran(trap), "the trap is none"
    trap.with_name("ran").unlink()
    with BorrowedRepository.open(folder, follow=True) as theirs, pytest.raises(Corrupt, match=r"train\.py"):
        theirs.file(theirs.head, "train.py")
    assert apply_branch(folder) == "metaloop/x"
    assert not ran(trap)


@pytest.mark.parametrize("source", ["/dev/zero", "pipe"])
def test_included_settings_are_not_read(tmp_path: Path, source: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    with_log(tmp_path / "logs")
    with (tmp_path / "logs" / ".git" / "config").open("a") as config:
        config.write(f"[include]\n\tpath = {tmp_path / source}\n")
    assert apply_branch(tmp_path / "logs") == "metaloop/x"
    assert [row["commits_joined"] for row in bring_in(tmp_path, {})] == [3]


@pytest.mark.parametrize("place", PIPES)
def test_pipe_in_the_repository_ends_each_command_at_once(
    tmp_path: Path, place: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """`import` loses only the diffs."""
    folder = tmp_path / "logs"
    with_log(folder)
    pipe = put_pipe(folder / ".git", place)
    with pytest.raises(Corrupt, match=f"{pipe.name}: not a regular file$"):
        apply_branch(folder)
    [run] = bring_in(tmp_path, {})
    assert run["commits_joined"] == 0 and "not a regular file" in run["repository_note"]
    assert main(["home", "audit", str(folder), "--blocks", "0"]) == 1
    assert "not a regular file" in capsys.readouterr().err


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


ROADS = {  # shell commands in the stranger's folder
    "alternates": "echo $SECRET/.git/objects > .git/objects/info/alternates",
    "relative alternates": "echo ../../../secret/.git/objects > .git/objects/info/alternates",
    "quoted alternates": "echo '\"'$SECRET/.git/objects'\"' > .git/objects/info/alternates",
    "alternates in turn": "mkdir -p a/info; echo ../../a > .git/objects/info/alternates;"
    " echo $SECRET/.git/objects > a/info/alternates",
    "linked objects": "mv .git/objects own; ln -s $SECRET/.git/objects .git/objects",
    "linked pack": "git -C $SECRET repack -adq; rmdir .git/objects/pack;"
    " ln -s $SECRET/.git/objects/pack .git/objects/pack",
    "commondir": "echo $SECRET/.git > .git/commondir",
    "git file": "mv .git own; echo gitdir: $SECRET/.git > .git",
    "linked git": "mv .git own; ln -s $SECRET/.git .git",
    "worktree of another": "git -C $SECRET worktree add -q ../other; mv .git own; cp ../other/.git .git",
    "forged worktree": "mkdir -p forged/worktrees/x; cd forged/worktrees/x; echo $SECRET/.git > commondir;"
    " echo ref: refs/heads/main > HEAD; echo $OLDPWD/.git > gitdir; cd $OLDPWD; mv .git own;"
    " echo gitdir: $PWD/forged/worktrees/x > .git",
}


@pytest.mark.parametrize("road", ROADS)
def test_import_other_repository_of_the_machine_is_not_read(tmp_path: Path, road: str) -> None:
    """A log that lists all short hashes would bring the diffs of a private repository into a study that is shared."""
    folder, secret = tmp_path / "logs", tmp_path / "secret"
    with_log(folder)
    private = repository(secret, ["KEY = 1\n", "KEY = 2\n"])
    words = ["sh", "-ec", ROADS[road]]
    subprocess.run(words, cwd=folder, env=os.environ | {"SECRET": str(secret)}, check=True, capture_output=True)
    with pytest.raises(UnreadableLog), opened(folder) as commits:
        assert commits.join(private[1]) is None
    [run] = bring_in(tmp_path, {"results.tsv": tsv("commit|val_bpb|status|description", f"{private[1]}|1|keep|x")})
    assert run["commits_joined"] == 0 and run["repository_note"]


def test_git_settings_of_the_current_folder_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A merge of texts, in a process whose current folder is the repository of a stranger."""
    repository(tmp_path / "repo", STATES)
    os.mkfifo(tmp_path / "pipe")
    with (tmp_path / "repo" / ".git" / "config").open("a") as config:
        config.write(f"[include]\n\tpath = {tmp_path}/pipe\n")
    monkeypatch.chdir(tmp_path / "repo")
    base = "".join(f"line {number}\n" for number in range(9))
    assert merged(base, base.replace("1", "a"), base.replace("8", "b")) == base.replace("1", "a").replace("8", "b")
