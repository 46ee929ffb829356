"""Zip archives of strangers: what comes out of one is bounded, whatever it says of itself."""

from __future__ import annotations

import io
import os
import tracemalloc
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from arena.study.run_archive import ARCHIVE, MOST_BYTES, pack, unpacked
from programs.common.errors import Corrupt, ProgramError
from programs.folder import from_zip
from tests.redteam.forged_zip import BZIP2, DEFLATED, ENCRYPTED, LZMA, STORED, XZ, forged, zeros

MEGABYTES = 40


@contextmanager
def little_memory() -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < 12 << 20
    finally:
        tracemalloc.stop()


BOMBS = [
    pytest.param(method, size, id=f"{name}-{size}")
    for name, method in (("bzip2", BZIP2), ("lzma", LZMA), ("deflate", DEFLATED))
    for size in (10, 200_000)
]


@pytest.mark.parametrize(("method", "size"), BOMBS)
def test_a_program_that_unfolds_to_gigabytes_is_refused(method: int, size: int) -> None:
    raw = forged([("program.md", method, zeros(method, MEGABYTES), size)])
    assert len(raw) < 200_000
    with little_memory(), pytest.raises(ProgramError, match="cannot be read"):
        from_zip(raw, "program.md")


@pytest.mark.parametrize(
    ("method", "content", "flags"),
    [(LZMA, b"\x09\x04\x05\x00" + b"x" * 40, 0), (LZMA, b"", 0), (BZIP2, b"BZh9junk", 0), (DEFLATED, b"junk", 0),
     (XZ, b"x", 0), (STORED, b"x", ENCRYPTED)],
)  # fmt: skip
def test_a_damaged_or_strange_entry_is_a_damaged_archive(method: int, content: bytes, flags: int) -> None:
    with pytest.raises(ProgramError, match="cannot be read"):
        from_zip(forged([("program.md", method, content, 20)], flags), "program.md")


def test_an_honest_archive_of_either_method_is_read() -> None:
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        target = io.BytesIO()
        with zipfile.ZipFile(target, "w", method) as archive:
            archive.writestr("program.md", "# One\n\nTry it.\n")
        assert from_zip(target.getvalue(), "program.md")[0].text == "# One\n\nTry it.\n"


@pytest.mark.parametrize("method", [BZIP2, LZMA])
def test_the_archive_of_a_strangers_runs_is_bounded(tmp_path: Path, method: int) -> None:
    (tmp_path / ARCHIVE).write_bytes(forged([("r1.zip", method, zeros(method, MEGABYTES), 100)]))
    with little_memory(), pytest.raises(Corrupt, match="cannot be read"), unpacked(tmp_path, "r1"):
        pass
    (tmp_path / "runs" / "r2").mkdir(parents=True)
    with little_memory(), pytest.raises(zipfile.BadZipFile):
        pack(tmp_path, ["r2"])


def test_entries_that_share_their_bytes_are_counted_each(tmp_path: Path) -> None:
    """A thousand names for the same stored bytes: what the entries say is added up before anything is written."""
    inner = forged([(f"r1/{n}", STORED, b"", MOST_BYTES // 100) for n in range(1000)])
    with zipfile.ZipFile(tmp_path / ARCHIVE, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("r1.zip", inner)
    with pytest.raises(Corrupt, match="more than"), unpacked(tmp_path, "r1"):
        pass


def test_no_name_leads_out_and_a_link_is_not_followed(tmp_path: Path) -> None:
    study = tmp_path / "study"
    study.mkdir()
    with zipfile.ZipFile(study / ARCHIVE, "w") as archive:
        archive.writestr("r1.zip", forged([("../../out", STORED, b"x", 1), ("/out", STORED, b"x", 1)]))
    with pytest.raises(Corrupt), unpacked(study, "r1"):  # the checksum is wrong; nothing is outside
        pass
    assert not list(tmp_path.rglob("out"))
    (study / ARCHIVE).rename(tmp_path / "elsewhere.zip")
    (study / ARCHIVE).symlink_to(tmp_path / "elsewhere.zip")
    with pytest.raises(Corrupt), unpacked(study, "r1"):
        pass
    (study / ARCHIVE).unlink()
    os.mkfifo(study / ARCHIVE)
    with unpacked(study, "r1") as folder:
        assert not folder.exists()
