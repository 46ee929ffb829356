"""Blocks as commits: their trailers are read again, a moved main is not overwritten, changes elsewhere are merged."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from arena.home.chain import Chain, Trailers, merged, read_trailers
from programs.common.errors import Corrupt

TRAILERS = Trailers(
    1, 7, 2, "0" * 40, 0.25, 0.1, 0.4, "nats", 3, 1e-5, 12.5, (11, 12), ("7-0", "7-1"), (0.1 + 0.2, 0.2), "h1"
)
FIRST = {"train.py": "a = 1\n", "lib/model.py": "b = 2\n"}


@pytest.fixture
def chain(tmp_path: Path) -> Chain:
    made = Chain(tmp_path / "main.git")
    made.create()
    return made


def test_blocks_are_commits_that_a_clone_can_read(chain: Chain, tmp_path: Path) -> None:
    assert chain.head == ""
    zero = chain.append(FIRST, "The baseline", "", "host", "")
    one = chain.append({**FIRST, "train.py": "a = 2\n"}, "Block 1", TRAILERS.lines(), "Ann <x>\n", zero)
    assert chain.head == one and chain.commits() == [zero, one]
    assert chain.files(zero) == FIRST and chain.files(one)["train.py"] == "a = 2\n"
    assert read_trailers(chain.message(one)) == TRAILERS and read_trailers(chain.message(zero)) is None
    subprocess.run(["git", "clone", "-q", str(chain.folder), str(tmp_path / "copy")], check=True)
    assert (tmp_path / "copy/lib/model.py").read_text() == "b = 2\n"
    shown = ["git", "-C", str(tmp_path / "copy"), "log", "-1", "--format=%an|%cn"]
    assert subprocess.check_output(shown, text=True) == "Ann x|metaloop home\n"
    assert not list(chain.folder.glob("index-*"))


@pytest.mark.parametrize("name", [".", "'", ":;", "<>", ""])
def test_an_author_whose_name_git_refuses_is_a_volunteer(chain: Chain, name: str) -> None:
    head = chain.append(FIRST, "The baseline", "", name, "")
    assert chain.git("log", "-1", "--format=%an", head).strip() == "volunteer"


def test_a_head_that_has_moved_is_not_overwritten(chain: Chain) -> None:
    zero = chain.append(FIRST, "The baseline", "", "host", "")
    one = chain.append({**FIRST, "train.py": "a = 2\n"}, "Block 1", TRAILERS.lines(), "Ann", zero)
    with pytest.raises(Corrupt, match="update-ref"):
        chain.append({**FIRST, "train.py": "a = 3\n"}, "Block 1", TRAILERS.lines(), "Bob", zero)
    assert chain.head == one


def test_damaged_trailers_are_said() -> None:
    text = f"Block 1\n\n{TRAILERS.lines()}"
    assert read_trailers(text) == TRAILERS
    with pytest.raises(Corrupt, match="block 1"):
        read_trailers(text.replace("Level: 1e-05", "Level: low"))
    with pytest.raises(Corrupt, match="block 1"):
        read_trailers(text.replace("Seeds: 11 12\n", ""))


def test_texts_are_merged_line_by_line() -> None:
    base = "".join(f"line {i}\n" for i in range(9))
    ours, theirs = base.replace("line 1\n", "ours\n"), base.replace("line 7\n", "theirs\n")
    assert merged(base, ours, theirs) == base.replace("line 1\n", "ours\n").replace("line 7\n", "theirs\n")
    assert merged(base, ours, base.replace("line 1\n", "theirs\n")) is None
    beside = base.replace("line 2\n", "beside\n")
    assert merged(base, ours, beside) == base.replace("line 1\nline 2\n", "ours\nbeside\n")
    assert merged(base, ours, base.replace("line 2\n", "beside\nmore\n")) is None
    far = theirs.replace("line 2\n", "beside\n")
    assert merged(base, ours, far) == theirs.replace("line 1\nline 2\n", "ours\nbeside\n")
    assert merged(base, base, theirs) == theirs and merged(base, ours, base) == ours
    marks = "".join(f"{mark * 60} x\n" for _ in range(200) for mark in "<|=")  # a search for conflicts took hours
    assert (
        merged(base, ours, theirs + marks) == base.replace("line 1\n", "ours\n").replace("line 7\n", "theirs\n") + marks
    )
    assert merged(base, ours, beside + marks) is None
