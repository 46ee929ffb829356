"""What a submission brings along beside its train.py: hooks, attributes, configuration, links."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from arena.audit.verify_plan import read_source
from inner_loop.agents.worktree import clear, notes
from inner_loop.repository import RunRepository
from programs.common.errors import MetaloopError
from programs.common.files import read_beneath
from tests.redteam.conftest import Attack
from tests.redteam.harness import World
from trainer.commands.init import Drafting, write
from trainer.commands.task_toml import Wanted
from trainer.jobs.writable_folder import give, size_mb, take_back

# what names a program, in the configuration of a repository
KEYS = """
core.fsmonitor core.pager core.editor core.sshCommand core.gitProxy core.askPass core.alternateRefsCommand diff.external
gpg.program filter.evil.clean filter.evil.smudge filter.evil.process diff.evil.textconv diff.evil.command
merge.evil.driver credential.helper alias.status alias.diff uploadpack.packObjectsHook sequence.editor
"""


@pytest.fixture
def submission(tmp_path: Path, world: World) -> Path:
    """A working repository whose every setting, hook and attribute starts a program that leaves a file behind."""
    folder, trap = tmp_path / "submission", tmp_path / "trap"
    trap.write_text(f"#!/bin/sh\ntouch {tmp_path}/sprung\ncat 2>/dev/null\n")
    trap.chmod(0o755)
    folder.mkdir()
    ground = world.ground("points")
    (folder / "train.py").write_text(ground.task.baseline().text())
    plain = ["git", "-c", "user.name=x", "-c", "user.email=x@x"]
    environment = {"PATH": os.defpath, "HOME": str(tmp_path), "GIT_CONFIG_NOSYSTEM": "1"}
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "one"]):
        subprocess.run([*plain, *words], cwd=folder, env=environment, check=True, capture_output=True)
    hooks = subprocess.run(["git", "help", "githooks"], capture_output=True, check=False).stdout.decode()
    names = {word for word in hooks.split() if word.startswith(("pre-", "post-", "fsmonitor", "reference"))}
    for name in names | {"pre-commit", "post-checkout", "post-index-change", "reference-transaction", "post-merge"}:
        if "/" not in name:
            hook = folder / ".git" / "hooks" / name
            hook.write_text(f"#!/bin/sh\nexec {trap}\n")
            hook.chmod(0o755)
    lines = [f"[include]\n\tpath = {world.folder}/study.toml"]
    for key in KEYS.split():
        section, name = key.rsplit(".", 1)
        head, _, driver = section.partition(".")
        lines.append(f'[{head} "{driver}"]' if driver else f"[{head}]")
        lines.append(f"\t{name} = {'!' if head == 'alias' else ''}{trap}")
    (folder / ".git" / "config").write_text("\n".join(lines) + "\n")
    for name in (".gitattributes", ".git/info/attributes"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(
            "* filter=evil diff=evil merge=evil ident working-tree-encoding=UTF-16\n"[:45] + "\n"
        )
    (folder / ".gitmodules").write_text(f'[submodule "x"]\n\tpath = x\n\turl = ext::{trap}\n\tupdate = !{trap}\n')
    (folder / ".mailmap").symlink_to(world.folder / "canary")
    return folder


@pytest.mark.exploit(34)
def test_hooks_and_attributes(submission: Path, tmp_path: Path, world: World) -> None:
    """34 everything of ours that reads a stranger's folder, over one that traps each program that git may start."""
    name = next(iter(world.ground("points").task.editable))
    told = [read_beneath(submission, name, 1 << 20).decode(), notes(submission), str(size_mb(submission))]
    found = Drafting(submission).draft(Wanted(command="echo loss: 1", editable=[name], seed="none", noise="unknown"))
    told += [found.toml, *(str(fact) for fact in found.facts)]
    write(found, tmp_path / "task")
    give(submission, os.geteuid())
    take_back(submission, os.geteuid(), os.getegid())
    world.assert_untold("".join(told))
    clear(submission)
    assert not submission.exists() and not (tmp_path / "sprung").exists()


@pytest.mark.exploit(34)
def test_a_plain_git_would_fall_for_it(submission: Path, tmp_path: Path) -> None:
    """34 the trap is one: without our care it springs."""
    subprocess.run(["git", "status"], cwd=submission, capture_output=True, check=False)
    assert (tmp_path / "sprung").exists()


@pytest.mark.exploit(34)
def test_a_submission_is_read_as_a_file(submission: Path, tmp_path: Path, world: World) -> None:
    """34 `metaloop verify` reads train.py: no link, no FIFO, no end of bytes; nothing of its repository runs."""
    task = world.ground("points").task
    assert read_source(submission / "train.py", task) == task.baseline()
    for spoil in (_link, _long, _fifo, _folder):
        (submission / "train.py").unlink(missing_ok=True)
        spoil(submission / "train.py", world)
        with pytest.raises(MetaloopError) as refused:
            read_source(submission / "train.py", task)
        world.assert_untold(str(refused.value))
    assert not (tmp_path / "sprung").exists()


def _link(place: Path, world: World) -> None:
    place.symlink_to(world.folder / "study.toml")


def _long(place: Path, world: World) -> None:
    place.unlink(missing_ok=True)
    with place.open("w") as file:
        file.truncate(1 << 40)


def _fifo(place: Path, world: World) -> None:
    os.mkfifo(place)


def _folder(place: Path, world: World) -> None:
    place.mkdir()


@pytest.mark.exploit(34)
def test_a_repository_made_in_the_experiments_folder(attack: Attack, world: World) -> None:
    """34 hooks and attributes that train.py writes beside itself go with its folder; no git of ours ever sees it."""
    code = """
import os
os.makedirs(".git/hooks", exist_ok=True)
open(".gitattributes", "w").write("* filter=evil")
open(".git/config", "w").write("[core]\\n\\tfsmonitor = touch /tmp/" + HOST["token"])
open(".git/hooks/post-checkout", "w").write("#!/bin/sh\\ntouch /tmp/" + HOST["token"])
os.chmod(".git/hooks/post-checkout", 0o755)
"""
    attack("points", train=code).assert_same()


@pytest.mark.exploit(34)
def test_the_repository_of_a_run_holds_no_hook_of_a_source(tmp_path: Path) -> None:
    """34 a run's own repository: sources are written as blobs, by us; git runs in it once, to show them."""
    repository = RunRepository(tmp_path / "run", "nll")
    active = [path for path in (tmp_path / "run/.git/hooks").glob("*") if path.suffix != ".sample"]
    repository.close()
    assert active == []
    assert not (tmp_path / "run" / ".gitattributes").exists()
