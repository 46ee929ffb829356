"""A repository of one's own is improved on a machine that can make no sandbox: two commands, a verdict."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import random
LR = 0.3
WIDTH = 8
SEED = 1
random.seed(SEED)
total = sum((random.gauss(0, 1) * (1 - LR / 4)) ** 2 for _ in range(4000 * WIDTH)) / (4000 * WIDTH)
print(f"val_loss: {total + 1 / WIDTH:.5f}")
"""
RENTED = "echo 0 > /proc/sys/user/max_user_namespaces; exec"  # as in a container without user namespaces
LINUX_ALONE = """
import importlib.abc, sys
names = {"trainer.sandbox." + name for name in "bwrap filters view outer local".split()}
names |= {"trainer.jobs.sandboxed"}
FILES = "trainer.inside.supervise"  # lays and fetches files, which needs no Linux
class Block(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name in names or (name.startswith("trainer.inside.") and name != FILES):
            raise ImportError(name + " is for Linux alone")
sys.meta_path.insert(0, Block())
"""


def metaloop(folder: Path, *words: str, rented: bool = False) -> subprocess.CompletedProcess[str]:
    """One command in a folder; ``rented``: no user namespaces, else no module that only Linux can use."""
    environment = {**os.environ, "METALOOP_CACHE": str(folder / "cache")}
    command = [sys.executable, "-m", "meta.cli.main", *words]
    if rented:
        command = ["unshare", "-Ur", "sh", "-c", f'{RENTED} "$@"', "sh", *command]
    else:
        (folder / "site").mkdir(exist_ok=True)
        (folder / "site" / "sitecustomize.py").write_text(LINUX_ALONE)
        environment["PYTHONPATH"] = os.pathsep.join([str(folder / "site"), environment.get("PYTHONPATH", "")])
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "repo"
    folder.mkdir()
    (folder / "train.py").write_text(SCRIPT)
    for words in (["init", "-q"], ["add", "."], ["-c", "user.name=u", "-c", "user.email=u@e", "commit", "-qm", "1"]):
        subprocess.run(["git", *words], cwd=folder, check=True)
    return folder


FIELDS = ("--metric", "val_loss", "--direction", "lower", "--seed", "train.py:SEED")


def test_without_a_sandbox_the_refusal_names_the_way(repository: Path, tmp_path: Path) -> None:
    refused = metaloop(tmp_path, "task", "init", "--from", "repo", *FIELDS, rented=True)
    assert refused.returncode == 1 and "error: no sandbox: " in refused.stderr
    assert "or run trusted code without a sandbox: --no-sandbox" in refused.stderr
    assert not (repository / "task.toml").exists()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_repository_without_linux_ends_in_a_verdict(repository: Path, tmp_path: Path) -> None:
    """A rented container: tests/meta/test_autoresearch.py."""
    made = metaloop(tmp_path, "task", "init", "--from", "repo", *FIELDS, "--no-sandbox")
    assert made.returncode == 0 and "task check repo --no-sandbox" in made.stderr, made.stderr
    words = ["improve", "stock", "-t", "repo", "--no-sandbox", "--budget", "8s", "-s", "night", "-y"]
    improved = metaloop(tmp_path, *words)
    assert improved.returncode == 0, improved.stdout[-2000:] + improved.stderr[-2000:]
    said = " ".join(improved.stdout.split())
    assert "Unverified scores" in said
    assert (tmp_path / "night" / "champion.md").is_file() and (tmp_path / "night" / "best_train.py").is_file()
    applied = metaloop(tmp_path, "resume", "night", "--apply")
    assert "metaloop/night" in applied.stdout + applied.stderr or "good enough to apply" in applied.stderr
