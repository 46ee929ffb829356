"""Task and program folders of strangers, with pipes, devices, links, folders and files without an end."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from meta.cli.main import run
from tests.inner_loop.play import BLOBS
from tests.meta.cli_study import metaloop

SECRET = "canary-77ac"
LIMIT_S = 60  # that nothing waits for a pipe or reads without an end, however slow the machine


def sparse(path: Path) -> None:
    path.touch()
    os.truncate(path, 100 << 30)


def looped(path: Path) -> None:
    path.symlink_to(path.name)


ODD: dict[str, Callable[[Path], None]] = {
    "pipe": lambda path: os.mkfifo(path),
    "zero": lambda path: path.symlink_to("/dev/zero"),
    "folder": lambda path: path.mkdir(),
    "dangling": lambda path: path.symlink_to("nowhere"),
    "loop": looped,
    "sparse": sparse,
    "link out": lambda path: path.symlink_to(path.parent.parent / "secret.txt"),
}


@pytest.fixture
def task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "secret.txt").write_text(f"{SECRET} = 1\n")
    return Path(shutil.copytree(BLOBS, tmp_path / "task", ignore=shutil.ignore_patterns("__pycache__")))


@pytest.mark.timeout(LIMIT_S)
@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("name", ["prepare.py", "train.py", "task.toml", "card.json", "check.json"])
def test_task_with_odd_file_is_refused_in_one_line(
    task: Path, name: str, odd: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (task / name).unlink(missing_ok=True)
    ODD[odd](task / name)
    for words in (["task", "show", "task"], ["match", "stock", "-t", "task", "-n", "1", "--dry-run"]):
        code = run(words)
        caught = capsys.readouterr()
        assert "unexpected" not in caught.err and SECRET not in caught.out + caught.err
        if name.endswith((".py", ".toml")):
            assert code in (1, 2) and name in caught.err and "hint: " in caught.err


@pytest.mark.timeout(LIMIT_S)
def test_read_only_below_linked_folder_is_refused(task: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (task.parent / "home").mkdir()
    shutil.move(task.parent / "secret.txt", task.parent / "home" / "secret.txt")
    (task / "sub").symlink_to(task.parent / "home")
    toml = (task / "task.toml").read_text()
    (task / "task.toml").write_text(re.sub(r"(?m)^read_only = .*$", 'read_only = ["sub/secret.txt"]', toml))
    assert run(["task", "show", "task"]) in (1, 2)
    assert "leads out of the folder" in capsys.readouterr().err


@pytest.mark.timeout(LIMIT_S)
def test_task_with_link_inside_its_folder_loads(task: Path) -> None:
    (task / "prepare.py").rename(task / "real.py")
    (task / "prepare.py").symlink_to("real.py")
    metaloop("task", "show", "task")


@pytest.mark.timeout(LIMIT_S)
@pytest.mark.parametrize("name", ["program.md", "AGENTS.md", "README.md", "other.md"])
@pytest.mark.parametrize("target", ["../secret.txt", "/etc/passwd", "/dev/zero"])
def test_program_folder_whose_entry_leads_out_is_refused(name: str, target: str, task: Path) -> None:
    folder = task.parent / "program"
    folder.mkdir()
    (folder / name).symlink_to(target)
    for words in (("program", "lint", folder), ("export", folder, "--for", "prose")):
        ended = metaloop(*words, code=2)
        assert SECRET not in ended.stdout + ended.stderr and "root:" not in ended.stdout + ended.stderr


@pytest.mark.timeout(LIMIT_S)
def test_program_folder_with_link_inside_is_read(tmp_path: Path) -> None:
    (tmp_path / "AGENTS.md").write_text("# A\n\nTry one thing.\n")
    (tmp_path / "CLAUDE.md").symlink_to("AGENTS.md")
    metaloop("program", "lint", tmp_path)
