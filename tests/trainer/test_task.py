"""task.toml: what loads, and one clear line with its place for what does not."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from programs.common.errors import NotFound, TaskError, UsageError
from tests.trainer.foreign_repos import store
from trainer import variants
from trainer.data import DataStore
from trainer.streams import Streams
from trainer.task import Task


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return variants.init(tmp_path / "My Task")


def test_scaffold_loads(folder: Path) -> None:
    task = Task.load(folder)
    assert (task.name, task.metric, task.unit, task.sign) == ("my-task", "nll", "nats", 1.0)
    assert task.hard_line() == pytest.approx(1.25 * 0.05 + 0.1)
    assert task.wall_cap() == 10.0
    assert task.edits.config(task.baseline())["LR"] == 0.03
    assert task.run_budget == pytest.approx(24 * task.cost_seconds)
    with pytest.raises(UsageError, match="already exists"):
        variants.init(folder)


def test_imports_are_those_of_the_untouched_files_not_their_own(folder: Path) -> None:
    (folder / "prepare.py").write_text("import scipy.stats, os\nfrom torch import nn\nfrom . import own\n")
    text = (folder / "train.py").read_text()
    (folder / "train.py").write_text(text + "\n\ndef late():\n    import sympy\n")
    assert {"os", "scipy", "sympy", "torch"} <= {*Task.load(folder).imports} and "prepare" not in Task.load(
        folder
    ).imports


def test_task_id_follows_what_counts(folder: Path) -> None:
    before = Task.load(folder).task_id
    (folder / "train.py").write_text((folder / "train.py").read_text() + "\n")
    (folder / "card.json").write_text("{}")
    assert Task.load(folder).task_id == before
    (folder / "data.py").write_text((folder / "data.py").read_text() + "\n")
    assert Task.load(folder).task_id != before


@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        ('metric = "nll"', 'metric = "nll', 'metric = "nll', "not valid TOML"),
        ('metric = "nll"', "", "[task]", "task.metric: is missing"),
        ('direction = "lower"', 'direction = "down"', "direction", "task.direction"),
        ("cost = 0.08", "costs = 0.08", "costs", "unknown key"),
        ("cost = 0.08", 'cost = 0.08\ndevice = "tpu"', "device", "budget.device"),
        ("[edits.WIDTH]", "[edits.WIDHT]", "[edits.WIDHT]", "no constant WIDHT"),
        ('find = "nn.Tanh()"', 'find = "nn.Tan()"', 'find = "nn.Tan()"', "occurs 0 times"),
        ("low = 0.0001", "low = 0.02", "[edits.LR]", "between low and high"),
        ("values = [16, 32, 64, 128]", "values = [16]", "[edits.BATCH]", "two values"),
        ('read_only = ["prepare.py"]', 'read_only = ["../x.py"]', "read_only", "is outside the task folder"),
        ('read_only = ["prepare.py"]', 'read_only = ["x.py"]', "read_only", "no file 'x.py'"),
        ('kind = "choice"', 'kind = "choise"', 'kind = "choise"', "edits.OPTIMIZER.kind"),
        ("seconds = 0.05", "seconds = inf", "seconds = inf", "finite"),
        ("values = [16, 32, 64, 128]", "values = [16, inf]", "values = [16, inf]", "a value must be a finite number"),
        ("values = [16, 32, 64, 128]", "values = [16, 16]", "[edits.BATCH]", "occurs twice"),
        ('kind = "classification"', 'kind = "nonsense"', 'kind = "nonsense"', "no scorer 'nonsense'"),
        ('kind = "classification"', 'kind = "printed"', "[score]", "needs either pattern"),
        ("chunk = 500", 'pattern = "(x)"', "[score]", "other kinds have neither"),
        ("chunk = 500", 'pattern = "(x"', 'pattern = "(x"', "not a valid regular expression"),
        ("chunk = 500", "stream_kb = 0", "stream_kb", "score.stream_kb"),
        ('editable = ["train.py"]', 'editable = ["train.py", "data.py"]', "editable", "generates the hidden data"),
        ('editable = ["train.py"]', 'editable = ["train.py", "prepare.py"]', "editable", "also read-only"),
    ],
)
def test_errors_name_file_and_line(folder: Path, old: str, new: str, line: str, message: str) -> None:
    path = folder / "task.toml"
    text = path.read_text()
    assert old in text
    path.write_text(text := text.replace(old, new, 1))
    number = next(n for n, content in enumerate(text.splitlines(), 1) if content.startswith(line))
    with pytest.raises(TaskError) as raised:
        Task.load(folder)
    assert raised.value.message.startswith(f"{path}:{number}: "), raised.value.message
    assert message in raised.value.message
    assert "\n" not in raised.value.message
    assert raised.value.hint


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("train.py", b"x = 1\ny = \xff\n", "train.py:2: not UTF-8"),
        ("train.py", b"x = 1\ndef (\n", "train.py:2: not valid Python"),
        ("train.py", b"x = 1\0\n", "not valid Python"),
        ("card.json", b'{"cost_seconds": "x"}', "card.json: cost_seconds"),
        ("card.json", b"\xff", "card.json: not valid JSON"),
        ("card.json", b'{"headroom": Infinity}', "card.json: not valid JSON"),
        ("task.toml", b"a = " + b"[" * 20000, "task.toml:1: nested too deeply"),
        ("task.toml", b"x = " + b"1" * 5000, "task.toml"),
        ("task.toml", b".".join([b"a"] * 12_000) + b" = 1", "task.toml"),
    ],
)
def test_files_that_cannot_be_read(folder: Path, name: str, content: bytes, message: str) -> None:
    (folder / name).write_bytes(content)
    with pytest.raises(TaskError) as raised:
        Task.load(folder)
    assert message in raised.value.message and "\n" not in raised.value.message and raised.value.hint


def test_missing_things(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(NotFound, match="no task 'nothing-here'"):
        Task.load("nothing-here")
    with pytest.raises(TaskError, match=r"no task\.toml"):
        Task.load(tmp_path)
    (folder / "data.py").unlink()
    with pytest.raises(TaskError, match=r"no data\.py"):
        Task.load(folder)


def test_splits_are_made_once_and_differ(task: Task, session_cache: Path, tmp_path: Path) -> None:
    one, two = (DataStore(task, Streams.from_seed(seed), tmp_path / "splits") for seed in (1, 2))
    assert one.train() == two.train()
    assert one.train().is_relative_to(session_cache)
    paths = [one.split("search"), one.split("selection"), two.split("search")]
    assert len({np.load(path / "targets.npy").tobytes() for path in paths}) == 3
    stamp = paths[0].stat().st_mtime_ns
    assert one.split("search").stat().st_mtime_ns == stamp
    assert {path.name for path in paths[0].parent.iterdir()} == {path.name for path in paths}


def test_the_current_folder_is_not_searched_by_a_generator(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "numpy.py").write_text("raise SystemExit('a stray file')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert (store(Task.load(folder), tmp_path / "splits").split("search") / "inputs.npy").is_file()


def test_seeds_of_hidden_data_have_128_bits() -> None:
    streams = Streams.from_seed(1)
    assert streams.seed("search", "split", "t1") == 2047589977
    seed = streams.data_seed("search", "split", "t1")
    assert seed >> 97 == 2047589977 and 1 << 100 < seed < 1 << 128  # the rest of the same digest


def generated(folder: Path, generator: str) -> DataStore:
    """Data of the task of a folder, made by that data.py."""
    shutil.rmtree(folder / "__pycache__", ignore_errors=True)
    (folder / "data.py").write_text(f"{generator}\n")
    return store(Task.load(folder), folder.parent / "splits")


def test_no_seed_of_hidden_data_can_be_read_by_others(folder: Path) -> None:
    """Neither on the command line of its generator, which all users may see, nor in a folder's name."""
    code = "def make(split, seed, out):\n    (out / 'told').write_bytes(open('/proc/self/cmdline', 'rb').read())\n"
    data = generated(folder, code + "    (out / 'seed').write_text(str(seed))")
    split, seed = data.split("search"), data.split_seed("search")
    shown = (split / "told").read_bytes().decode() + split.name
    assert (split / "seed").read_text() == str(seed)
    assert str(folder) in shown and str(seed) not in shown and f"{seed:x}"[:8] not in shown


def test_a_generator_of_small_seeds_is_told_of_large_ones(folder: Path) -> None:
    data = generated(folder, "import numpy\ndef make(split, seed, out): numpy.random.RandomState(seed)")
    with pytest.raises(TaskError) as problem:
        data.split("search")
    assert "128 bits" in (problem.value.hint or "")


def test_a_generator_that_fails(folder: Path, tmp_path: Path) -> None:
    data = generated(folder, "def make(split, seed, out): raise ValueError('no such split')")
    with pytest.raises(TaskError, match=r"data\.py: make\('search'.*no such split"):
        data.split("search")
    assert not list((tmp_path / "splits").rglob("*.npy"))


def test_a_language_model_needs_torch(folder: Path) -> None:
    path = folder / "task.toml"
    text = path.read_text().replace('kind = "classification"', 'kind = "language_model"', 1)
    path.write_text(text.replace("editable =", "torch = false\neditable =", 1))
    with pytest.raises(TaskError, match="language_model needs torch"):
        Task.load(folder)
