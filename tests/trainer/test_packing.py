"""A packed folder comes back as it was; anything else is refused before a file is written outside."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from trainer.inside.packing import pack, unpack


def test_a_folder_comes_back_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "in" / "deep").mkdir(parents=True)
    (tmp_path / "in" / "deep" / "a").write_bytes(b"abc")
    (tmp_path / "in" / "b").write_bytes(b"")
    (tmp_path / "in" / "b").chmod(0o755)
    with open(tmp_path / "packed", "w+b") as file:
        assert pack(str(tmp_path / "in"), file.fileno(), 1000) == os.fstat(file.fileno()).st_size
        assert unpack(file.fileno(), str(tmp_path / "out")) == 2
        assert pack(str(tmp_path / "in"), file.fileno(), 10) == 0
    assert (tmp_path / "out" / "deep" / "a").read_bytes() == b"abc" and os.access(tmp_path / "out" / "b", os.X_OK)


@pytest.mark.parametrize(
    "head",
    [1, [1], [["a", 1]], {"a": 1}, [["../a", 0, False]], [["/a", 0, False]], [["a", 9, False]], [["a", -1, False]],
     [["a", True, False]], [[1, 0, False]]],
)  # fmt: skip
def test_a_malformed_one_is_refused(tmp_path: Path, head: object) -> None:
    text = json.dumps(head).encode()
    (tmp_path / "packed").write_bytes(len(text).to_bytes(8, "little") + text + b"x")
    with open(tmp_path / "packed", "rb") as file, pytest.raises(ValueError, match="packed folder"):
        unpack(file.fileno(), str(tmp_path / "out"))
    assert not (tmp_path / "a").exists()
