"""`task init --like`: a copy of a built-in task, or of tinylm on another language."""

from __future__ import annotations

from pathlib import Path

import pytest

from programs.errors import UsageError
from trainer.data import DataStore
from trainer.streams import Streams
from trainer.task import Task
from trainer.variants import Variant, init_like

pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.mark.parametrize(
    ("wanted", "says", "cure"),
    [
        (Variant("nothing"), "no built-in task", "one of gpt"),
        (Variant("strokes", grammar=2), "strokes does not support a grammar", "leave out --like"),
    ],
)
def test_what_cannot_be_copied_is_one_line(tmp_path: Path, wanted: Variant, says: str, cure: str) -> None:
    with pytest.raises(UsageError, match=says) as caught:
        init_like(tmp_path / "mine", wanted)
    assert cure in caught.value.hint and not (tmp_path / "mine").exists()


def test_another_grammar_is_another_language_with_its_floor(tmp_path: Path) -> None:
    task = init_like(tmp_path / "dialect", Variant(grammar=7))
    assert task.grammar == 7 and task.task_id != Task.load("tinylm").task_id and not task.public
    streams = Streams.from_seed(1)
    there, here = (DataStore(t, streams, tmp_path / "data").split("search") for t in (task, Task.load("tinylm")))
    assert (there / "inputs.npy").read_bytes() != (here / "inputs.npy").read_bytes()
    assert '"bits_per_byte"' in (there / "floor.json").read_text()
    with pytest.raises(UsageError, match="already exists"):
        init_like(tmp_path / "dialect", Variant(grammar=8))


def test_a_plain_copy_is_the_task_under_another_name(tmp_path: Path) -> None:
    task = init_like(tmp_path / "mine", Variant("strokes"))
    other = Task.load("strokes")
    assert task.name == "mine" and task.edits == other.edits and task.baseline() == other.baseline()
    assert isinstance(other.card, dict) and task.card is None
