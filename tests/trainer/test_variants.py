"""`task init --like`: a built-in task on another language, or on a text of one's own."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from programs.errors import UsageError
from trainer.check import check
from trainer.data import DataStore
from trainer.streams import STREAMS, Streams
from trainer.task import Task
from trainer.variants import Variant, init_like

PLAIN = ["größe", "дом", "日本", "naïve", "the", "of", "(x)"]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METALOOP_CACHE", str(tmp_path / "cache"))


def prose(seed: int, lines: int) -> str:
    """Lines of twelve words of a few hundred, in three alphabets."""
    rng = random.Random(seed)
    words = PLAIN * 10 + ["".join(rng.choice("abcdefghij") for _ in range(rng.randint(2, 8))) for _ in range(400)]
    return "".join(" ".join(rng.choice(words) for _ in range(12)) + "\n" for _ in range(lines))


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    folder = tmp_path / "corpus"
    (folder / "more").mkdir(parents=True)
    (folder / "one.txt").write_text(prose(1, 4500))
    (folder / "more" / "two.md").write_text(prose(2, 2500))
    return folder


def symbols_of(task: Task, split: Path) -> bytes:
    """The text of a hidden split, spelled by the task's own table."""
    names: dict[str, Any] = {}
    exec((task.folder / "codelm_fragments.py").read_text(), names)
    symbols = [*(bytes([number]) for number in range(256)), *names["FRAGMENTS"]]
    found = np.load(split)
    return b"".join(symbols[number] for number in found[found >= 0].ravel())


def test_a_text_of_one_s_own_is_split_so_that_nothing_hidden_is_trained_on(tmp_path: Path, corpus: Path) -> None:
    (corpus / "more" / "copy.md").write_text((corpus / "one.txt").read_text())
    task, told = init_like(tmp_path / "my-text", Variant(text=corpus))
    assert (task.name, task.text, task.public) == ("my-text", str(corpus), False)
    assert "MB to train on" in told and task.card is None
    data = DataStore(task, Streams.from_seed(1), tmp_path / "data")
    known = symbols_of(task, data.train() / "train.npy")
    whole = (corpus / "one.txt").read_bytes() + (corpus / "more" / "two.md").read_bytes()
    assert 0.6 * len(whole) < len(known) < len(whole)
    for stream in STREAMS:
        hidden = symbols_of(task, data.split(stream) / "targets.npy")
        lines = hidden.splitlines(keepends=True)
        assert len(hidden) > 4000 and not any(b"".join(lines[at : at + 3]) in known for at in range(len(lines) - 3))
        assert all(line in whole for line in lines)


def test_the_symbols_are_those_of_the_text(tmp_path: Path, corpus: Path) -> None:
    task, _ = init_like(tmp_path / "my-text", Variant(text=corpus / "one.txt"))
    assert r"\xd0" in (task.folder / "codelm_fragments.py").read_text(), "no fragment of the Cyrillic words"
    builtin = Task.load("codelm").folder
    assert (task.folder / "codelm_fragments.py").read_text() != (builtin / "codelm_fragments.py").read_text()
    assert (task.folder / "train.py").read_text() == (builtin / "train.py").read_text()


def damaged(corpus: Path, how: str) -> None:
    bad = corpus / "bad.txt"
    if how == "short":
        for path in (corpus / "one.txt", corpus / "more" / "two.md"):
            path.write_text("little\n")
    elif how == "link":
        bad.symlink_to("/etc/hostname")
    elif how == "same":
        (corpus / "one.txt").write_text("it says the same thing all the time, in each of its lines\n" * 6000)
        (corpus / "more" / "two.md").unlink()
    else:
        bad.write_bytes({"latin-1": b"gr\xf6\xdfe", "binary": b"ab\0cd"}[how])


@pytest.mark.parametrize(
    ("how", "says", "cure"),
    [
        ("short", "0 KB of text, 256 KB are needed", "add more"),
        ("latin-1", r"bad.txt: no UTF-8 text \(byte 2\)", "save it as UTF-8"),
        ("binary", "bad.txt: binary", "take it out"),
        ("link", "bad.txt: a link that leaves the folder", "copy what it leads to"),
        ("same", "bytes of the search pool stand in no training document", "repeats itself"),
    ],
)
def test_a_text_that_cannot_serve_is_one_line_and_leaves_nothing(
    tmp_path: Path, corpus: Path, how: str, says: str, cure: str
) -> None:
    damaged(corpus, how)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(UsageError, match=says) as caught:
        init_like(tmp_path / "mine", Variant(text=corpus))
    assert "\n" not in caught.value.message and cure in caught.value.hint
    assert sorted({*tmp_path.iterdir()} - {tmp_path / "cache"}) == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_an_unreadable_file_is_one_line(tmp_path: Path, corpus: Path) -> None:
    (corpus / "one.txt").chmod(0)
    with pytest.raises(UsageError, match=r"one.txt: Permission denied"):
        init_like(tmp_path / "mine", Variant(text=corpus))


@pytest.mark.parametrize(
    ("wanted", "says", "cure"),
    [
        (lambda c: Variant("nothing"), "no built-in task", "one of codelm"),
        (lambda c: Variant("strokes", grammar=2), "strokes does not support a grammar", "tinylm"),
        (lambda c: Variant("tinylm", text=c), "tinylm does not support a text", "codelm"),
        (lambda c: Variant(grammar=2, text=c), "exclude each other", "one of them"),
        (lambda c: Variant(text=c / "none"), "no such file", "name a file"),
        (lambda c: Variant(text=c.parent), "is inside the text", "another folder"),
    ],
)
def test_what_cannot_be_copied_is_one_line(
    tmp_path: Path, corpus: Path, wanted: Callable[[Path], Variant], says: str, cure: str
) -> None:
    with pytest.raises(UsageError, match=says) as caught:
        init_like(tmp_path / "mine", wanted(corpus))
    assert cure in caught.value.hint and not (tmp_path / "mine").exists()


def test_another_grammar_is_another_language_with_its_floor(tmp_path: Path) -> None:
    task, _ = init_like(tmp_path / "dialect", Variant(grammar=7))
    assert task.grammar == 7 and task.task_id != Task.load("tinylm").task_id and not task.public
    streams = Streams.from_seed(1)
    there, here = (DataStore(t, streams, tmp_path / "data").split("search") for t in (task, Task.load("tinylm")))
    assert (there / "inputs.npy").read_bytes() != (here / "inputs.npy").read_bytes()
    assert '"bits_per_byte"' in (there / "floor.json").read_text()
    with pytest.raises(UsageError, match="already exists"):
        init_like(tmp_path / "dialect", Variant(grammar=8))


def test_a_plain_copy_is_the_task_under_another_name(tmp_path: Path) -> None:
    task, _ = init_like(tmp_path / "mine", Variant("strokes"))
    other = Task.load("strokes")
    assert task.name == "mine" and task.edits == other.edits and task.baseline() == other.baseline()
    assert isinstance(other.card, dict) and task.card is None


@pytest.mark.slow
def test_a_text_of_one_s_own_keeps_the_contract(tmp_path: Path, corpus: Path) -> None:
    init_like(tmp_path / "mine", Variant(text=corpus))
    found = check(tmp_path / "mine", only=("text", "data", "baseline", "fixed steps", "chunks", "referee", "by hand"))
    assert not [finding for finding in found if finding.level == "error"]
