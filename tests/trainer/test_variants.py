"""Copies of a built-in task ('task init --like'), and members of a family: other data, the same knobs."""

from __future__ import annotations

import errno
import tomllib
from pathlib import Path

import numpy as np
import pytest

from programs.common.errors import TaskError, UsageError
from tests.meta.cli_study import metaloop
from tests.trainer.foreign_repos import changed, store
from trainer import variants
from trainer.data import DataStore
from trainer.streams import Streams
from trainer.task import Task
from trainer.variants import baseline_of, init_like, with_value

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


def member(folder: Path, number: int | None) -> Task:
    return init_like(folder, "tabular", number)


def test_a_member_has_other_data_and_another_baseline(tmp_path: Path) -> None:
    first, other, again = member(tmp_path / "a", 1), member(tmp_path / "b", 2), member(tmp_path / "c", 2)
    assert len({Task.load("tabular").task_id, first.task_id, other.task_id}) == 3
    assert again.baseline() == other.baseline() != first.baseline() and again.edits == other.edits == first.edits
    drawn = baseline_of(other, 2).set
    config = other.edits.config(other.baseline())
    assert len(drawn) >= 3 and all(config[name] == value for name, value in drawn.items())
    splits = [store(task, tmp_path / task.name).split("search") for task in (first, other)]
    one, two = (np.load(split / "inputs.npy") for split in splits)
    assert one.shape == two.shape and not np.allclose(one.std(0), two.std(0), rtol=0.2)


def test_a_member_that_cannot_be_stored_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk, for example; if another process made it first, its copy is used."""
    rename, late = Path.rename, False

    def fail(source: Path, target: Path) -> Path:
        if source.name != "tabular-3":
            return rename(source, target)
        if late:
            rename(source, target)
        raise OSError(errno.ENOTEMPTY if late else errno.ENOSPC, "as told")

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(OSError, match="as told"):
        variants.member(Task.load("tabular"), 3)
    late = True
    assert variants.member(Task.load("tabular"), 3).name == "tabular-3"


def test_the_family_is_no_part_of_a_task_s_id(tmp_path: Path) -> None:
    task = member(tmp_path / "a", None)
    assert task.family is not None and task.family.name == "tabular"
    other = changed(task.folder, "share = 0.6", "share = 0.9")
    assert other.task_id == task.task_id and other.family is not None and other.family.share == 0.9
    with pytest.raises(TaskError, match=r"there is no constant \[edits\.whiten\]"):
        changed(task.folder, "[family.baseline]\nETA", "[family.baseline]\nwhiten")


def test_what_has_no_family_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is no family"):
        init_like(tmp_path / "s", "tinylm", 1)
    assert not (tmp_path / "s").exists()
    metaloop("task", "init", tmp_path / "t", "--like", "tabular:3")


def test_members_have_own_names_and_data_in_any_toml_spelling(tmp_path: Path) -> None:
    file = init_like(tmp_path / "mine", "tabular").folder / "task.toml"
    text = file.read_text()
    for number, (name, data) in enumerate((("name = 'mine'", "variant=1"), ('  name="mine" # x', "variant = 0x1")), 2):
        file.write_text(text.replace('name = "mine"', name).replace("variant = 1 ", f"{data} ", 1))
        made = init_like(tmp_path / f"m{number}", str(file.parent), number)
        written = tomllib.loads((made.folder / "task.toml").read_text())
        assert (made.name, written["data"]["variant"], written["family"]["name"]) == (f"m{number}", number, "tabular")
    file.write_text(text.replace('name = "mine"', 'name = """\nmine"""'))
    with pytest.raises(UsageError, match=r"cannot replace name of \[task\]"):
        init_like(tmp_path / "m9", str(file.parent), 9)
