"""Members of a family: other data, another untouched script, the same knobs."""

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
from trainer.experiment import Spec, Trainer
from trainer.sandbox.local import LocalLauncher
from trainer.streams import Streams
from trainer.task import Task
from trainer.variants import baseline_of, init_like


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


def test_members_have_own_names_and_data_in_any_toml_spelling(tmp_path: Path) -> None:
    init_like(tmp_path / "mine", "tabular")
    file = tmp_path / "mine" / "task.toml"
    text = file.read_text()
    names = ("name = 'mine'", 'name="mine"', '  name   =  "mine" # short')
    for number, (name, data) in enumerate(zip(names, ("variant=1", "variant = 0x1", "variant = 1_0"), strict=True), 2):
        file.write_text(text.replace('name = "mine"', name).replace("variant = 1 ", f"{data} ", 1))
        made = init_like(tmp_path / f"m{number}", str(file.parent), number)
        written = tomllib.loads((made.folder / "task.toml").read_text())
        assert (made.name, written["data"]["variant"]) == (f"m{number}", number)
        assert written["family"]["name"] == "tabular"
    file.write_text(text.replace('[task]\nname = "mine"', '["task"]\nname = "mine"'))
    assert init_like(tmp_path / "m8", str(file.parent), 8).name == "m8"
    members = []
    for data in ("variant = 1", "variant=1"):
        file.write_text(text.replace("variant = 1", data, 1))
        members.append(init_like(tmp_path / data / "m7", str(file.parent), 7).task_id)
    assert len(set(members)) == 1  # ids that studies have on disk
    file.write_text(text.replace('name = "mine"', 'name = """\nmine"""'))
    with pytest.raises(UsageError, match=r"cannot replace name of \[task\]"):
        init_like(tmp_path / "m9", str(file.parent), 9)


def test_a_member_that_cannot_be_stored_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk, for example; if another process made it first, its copy is used."""
    monkeypatch.setenv("METALOOP_CACHE", str(tmp_path))
    rename = Path.rename

    def full(source: Path, target: Path) -> Path:
        if source.name == "tabular-3":
            raise OSError(errno.ENOSPC, "No space left on device")
        return rename(source, target)

    def late(source: Path, target: Path) -> Path:
        if source.name == "tabular-3":
            rename(source, target)
            raise OSError(errno.ENOTEMPTY, "Directory not empty")
        return rename(source, target)

    monkeypatch.setattr(Path, "rename", full)
    with pytest.raises(OSError, match="No space left"):
        variants.member(Task.load("tabular"), 3)
    monkeypatch.setattr(Path, "rename", late)
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


@pytest.mark.slow
def test_members_train_and_differ_in_what_helps(tmp_path: Path, bare_launcher: LocalLauncher) -> None:
    metrics = []
    for number in (1, 2, 3):
        task = member(tmp_path / f"m{number}", number)
        streams = Streams.from_seed(1)
        trainer = Trainer(task, DataStore(task, streams, tmp_path / f"d{number}"), launcher=bare_launcher)
        outcome = trainer.run(Spec(task.baseline(), 1))
        metrics.append((outcome.status, outcome.metric))
    assert len(set(metrics)) == 3 and sum(status == "ok" for status, _ in metrics) >= 1
