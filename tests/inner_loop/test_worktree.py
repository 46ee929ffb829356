"""What a stranger leaves in a worktree is read and never run."""

from __future__ import annotations

import os
import stat
import subprocess
from contextlib import ExitStack
from pathlib import Path

import pytest

from inner_loop.agents.worktree import clear, temporary
from programs.common.errors import UsageError
from programs.common.files import TooMuch, read_beneath
from trainer.jobs import writable_folder as trees


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
    assert read_beneath(root, "sub/file", 4) == b"data"
    for name in ("link", "folder/secret", "fifo", "sparse", "sub", "../secret", "/etc/passwd", "", "none", "sub//file"):
        with pytest.raises(UsageError):
            read_beneath(root, name, 100)
    with pytest.raises(UsageError, match="more than 3 bytes"):
        read_beneath(root, "sub/file", 3)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_root_gives_a_folder_and_takes_it_back_without_setuid(tmp_path: Path) -> None:
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


def test_folder_too_deep_to_be_read_is_told_and_removed(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "stays").touch()
    script = "import os\nfor _ in range(3000): os.mkdir('d'); os.chdir('d')"
    with ExitStack() as stack:
        for root in (tmp_path / "root", temporary(stack)):
            root.mkdir(exist_ok=True)
            (root / "closed").mkdir()
            (root / "closed" / "file").touch()
            (root / "closed").chmod(0)
            (root / "link").symlink_to(tmp_path / "outside")
            subprocess.run(["python3", "-c", script], cwd=root, check=True)
        with pytest.raises(TooMuch, match="cannot be read"):
            trees.size_mb(tmp_path / "root")
        clear(tmp_path / "root")
    assert not root.exists() and os.listdir(tmp_path) == ["outside"] and (tmp_path / "outside" / "stays").exists()
