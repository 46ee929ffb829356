"""A packed folder comes back as it was; nothing is written outside."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import pytest

from trainer.inside.supervise import pack, unpack


def test_a_folder_comes_back_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "in" / "deep").mkdir(parents=True)
    (tmp_path / "in" / "deep" / "a").write_bytes(b"abc")
    (tmp_path / "in" / "b").write_bytes(b"")
    (tmp_path / "in" / "b").chmod(0o755)
    (tmp_path / "in" / "link").symlink_to("/etc/passwd")
    with open(tmp_path / "packed", "w+b") as file:
        for _ in range(2):  # the position of the shared descriptor does not matter
            pack(str(tmp_path / "in"), file.fileno(), 100_000)
            unpack(file.fileno(), str(tmp_path / "out"))
        assert os.fstat(file.fileno()).st_size
        pack(str(tmp_path / "in"), file.fileno(), 10)
        assert os.fstat(file.fileno()).st_size == 0
    assert (tmp_path / "out" / "deep" / "a").read_bytes() == b"abc" and os.access(tmp_path / "out" / "b", os.X_OK)
    assert not (tmp_path / "out" / "link").is_symlink()


def test_nothing_is_written_outside(tmp_path: Path) -> None:
    with open(tmp_path / "packed", "w+b") as file, tarfile.open(fileobj=file, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("../a"), io.BytesIO())
    with open(tmp_path / "packed", "rb") as file, pytest.raises(tarfile.FilterError):
        unpack(file.fileno(), str(tmp_path / "out"))
    assert not (tmp_path / "a").exists()
