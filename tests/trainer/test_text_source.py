"""The text of a task: its bytes are in the task's identity, and are hashed once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from programs.errors import NotComparable, TaskError
from trainer import scaffold, text_source
from trainer.data import DataStore
from trainer.streams import Streams
from trainer.task import Task
from trainer.text_source import at_hand, text_hash
from trainer.user_files import user_cache

pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture
def text(tmp_path: Path) -> Path:
    folder = tmp_path / "text"
    (folder / "deep").mkdir(parents=True)
    (folder / "a.txt").write_text("one\n")
    (folder / "deep" / "b.txt").write_text("two\n")
    return folder


@pytest.fixture
def task_of_text(tmp_path: Path, text: Path) -> Path:
    """A small task whose data are said to come from the text."""
    return with_data(scaffold.init(tmp_path / "task"), f'source = "{text}"')


def with_data(folder: Path, line: str) -> Path:
    toml = (folder / "task.toml").read_text()
    (folder / "task.toml").write_text(toml.replace("[data]\n", f"[data]\n{line}\n"))
    return folder


def test_bytes_and_names_are_the_text_and_times_are_not(text: Path) -> None:
    before = text_hash(str(text))
    os.utime(text / "a.txt", ns=(1, 1))
    assert text_hash(str(text)) == before
    (text / "a.txt").rename(text / "c.txt")
    renamed = text_hash(str(text))
    (text / "c.txt").write_text("One\n")
    assert len({before, renamed, text_hash(str(text))}) == 3
    assert text_hash(str(text / "c.txt")) != text_hash(str(text / "deep" / "b.txt"))


def test_hidden_files_and_links_are_no_text(text: Path, tmp_path: Path) -> None:
    before = text_hash(str(text))
    (text / ".git").mkdir()
    (text / ".git" / "HEAD").write_text("x")
    (tmp_path / "keys").write_text("secret")
    (text / "keys").symlink_to(tmp_path / "keys")
    assert text_hash(str(text)) == before


def test_what_nobody_touched_is_not_read_again(text: Path) -> None:
    found = text_hash(str(text))
    (kept,) = (user_cache() / "texts").iterdir()
    assert kept.read_text() == found
    kept.write_text("x0123456789ab")
    assert text_hash(str(text)) == "x0123456789ab", "it was read again"
    kept.write_text("nonsense")
    assert text_hash(str(text)) == found and kept.read_text() == found


def test_a_cache_that_cannot_be_written_costs_time_only(text: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = text_hash(str(text))
    monkeypatch.setenv("METALOOP_CACHE", "/proc/nowhere")
    assert text_hash(str(text)) == found


def test_the_standard_library_is_a_text_that_is_at_hand(text: Path) -> None:
    assert text_hash("stdlib") == text_hash("stdlib")
    names = [file.name for file in text_source._listing("stdlib")]
    assert "json/decoder.py" in names and not any("site-packages" in name for name in names)
    assert at_hand("stdlib") and at_hand("/usr/share/dict/words") and not at_hand(str(text))


def test_another_text_is_another_task(task_of_text: Path, text: Path) -> None:
    before = Task.load(task_of_text)
    assert (before.text, before.public, before.text_hash) == (str(text), False, text_hash(str(text)))
    (text / "a.txt").write_text("three\n")
    after = Task.load(task_of_text)
    assert after.task_id != before.task_id and after.text_hash != before.text_hash


def test_a_text_that_sandboxes_show_is_public_unsaid(tmp_path: Path) -> None:
    folder = with_data(scaffold.init(tmp_path / "task"), 'source = "stdlib"\npublic = false')
    assert Task.load(folder).public
    assert not Task.load("tinylm").public


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ('source = "relative/path"', r"task.toml:\d+: data.source: is neither"),
        ('source = "/no/such/text"', r"task.toml:\d+: data.source: /no/such/text: No such file"),
        ('source = "stdlib"\ngrammar = 1', "source and grammar"),
        ("grammar = -1", r"data.grammar"),
    ],
)
def test_a_wrong_source_is_one_line(tmp_path: Path, line: str, says: str) -> None:
    folder = with_data(scaffold.init(tmp_path / "task"), line)
    with pytest.raises(TaskError, match=says) as caught:
        Task.load(folder)
    assert "\n" not in caught.value.message and caught.value.hint


def test_a_text_that_changes_under_way_makes_no_split(task_of_text: Path, text: Path, tmp_path: Path) -> None:
    data = DataStore(Task.load(task_of_text), Streams.from_seed(1), tmp_path / "data")
    assert data.split("search").is_dir()
    (text / "a.txt").write_text("three\n")
    with pytest.raises(NotComparable, match="has changed since it was loaded"):
        data.split("selection")
    assert len(list((tmp_path / "data" / data.task.task_id).iterdir())) == 1
