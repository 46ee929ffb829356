"""`task init --like`: a built-in task on another language, or on a text of one's own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from programs.errors import UsageError
from trainer.data import DataStore
from trainer.streams import Streams
from trainer.task import Task
from trainer.variants import Variant, init_like

pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    folder = tmp_path / "corpus"
    folder.mkdir()
    (folder / "one.txt").write_text("a little text\n")
    return folder


def test_a_text_that_cannot_serve_is_one_line_and_leaves_nothing(tmp_path: Path, corpus: Path) -> None:
    before = sorted(tmp_path.iterdir())
    with pytest.raises(UsageError, match="too little text") as caught:
        init_like(tmp_path / "mine", Variant(text=corpus))
    assert "\n" not in caught.value.message and "1 MB or more" in caught.value.hint
    assert sorted({*tmp_path.iterdir()} - {tmp_path / "cache"}) == before


@pytest.mark.parametrize(
    ("wanted", "says", "cure"),
    [
        (lambda c: Variant("nothing"), "no built-in task", "one of gpt"),
        (lambda c: Variant("strokes", grammar=2), "strokes does not support a grammar", "tinylm"),
        (lambda c: Variant("tinylm", text=c), "tinylm does not support a text", "gpt"),
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
