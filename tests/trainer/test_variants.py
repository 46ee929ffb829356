"""`task init --like`: a copy of a built-in task; tinylm on another language."""

from __future__ import annotations

from pathlib import Path

import pytest

from programs.common.errors import UsageError
from trainer.data import DataStore
from trainer.streams import Streams
from trainer.task import Task
from trainer.variants import init_like, with_value

pytestmark = pytest.mark.usefixtures("own_cache")


def test_what_cannot_be_copied_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no built-in task") as caught:
        init_like(tmp_path / "mine", "nothing")
    assert "one of gpt" in caught.value.hint and not (tmp_path / "mine").exists()


def test_another_grammar_is_another_language_with_its_floor(tmp_path: Path) -> None:
    toml = init_like(tmp_path / "dialect", "tinylm").folder / "task.toml"
    toml.write_text(with_value(toml.read_text(), "data", "grammar", 7))
    task = Task.load(tmp_path / "dialect")
    assert task.task_id != Task.load("tinylm").task_id and not task.public
    streams = Streams.from_seed(1)
    there, here = (DataStore(t, streams, tmp_path / "data").split("search") for t in (task, Task.load("tinylm")))
    assert (there / "inputs.npy").read_bytes() != (here / "inputs.npy").read_bytes()
    assert '"bits_per_byte"' in (there / "floor.json").read_text()
    with pytest.raises(UsageError, match="already exists"):
        init_like(tmp_path / "dialect", "tinylm")


def test_a_plain_copy_is_the_task_under_another_name(tmp_path: Path) -> None:
    task = init_like(tmp_path / "mine", "strokes")
    other = Task.load("strokes")
    assert task.name == "mine" and task.edits == other.edits and task.baseline() == other.baseline()
    assert isinstance(other.card, dict) and task.card is None
