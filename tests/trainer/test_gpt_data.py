"""Data of the task gpt: the generated language and its floor, the user's own text and parquet, and what is wrong."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from tests.trainer.shelf import module_of
from trainer.task import TASKS, Task

FOLDER = TASKS / "gpt"
MAKE = "import sys; sys.path.insert(0, sys.argv[1]); import data; data.make(sys.argv[2], int(sys.argv[3]), sys.argv[4])"
Made = Callable[..., Path]


@pytest.fixture(scope="module")
def data() -> ModuleType:
    return module_of(Task.load("gpt"), "data")


@pytest.mark.parametrize(
    ("language", "digest", "total"), [(1, "dcf691184095bc0c", 223625.029279), (2, "401220242921d776", 219879.069161)]
)
def test_a_seed_means_the_same_bytes_everywhere(data: ModuleType, language: int, digest: str, total: float) -> None:
    symbols, lengths, bits = data.block(language, "train", 7, 500, 2)
    assert hashlib.sha256(symbols.astype("<u2").tobytes()).hexdigest()[:16] == digest
    assert bits.sum() == pytest.approx(total, abs=1e-5) and 100 < lengths.mean() < 400


def test_splits_seeds_and_languages_differ(data: ModuleType) -> None:
    blocks = [(1, "train", 1, 0), (1, "train", 1, 1), (1, "search", 1, 0), (1, "search", 2, 0), (2, "train", 1, 0)]
    found = {data.block(*which, 8, index)[0].tobytes() for *which, index in blocks}
    assert len(found) == len(blocks)
    one, two = data.language(1), data.language(2)
    assert (one.topics != two.topics).any() and one.key != two.key


@pytest.fixture
def made(tmp_path: Path) -> Made:
    """Makes a split by a copy of the task with other [data]; gives its folder, or raises with the last line."""

    def make(split: str, seed: int = 1, **settings: object) -> Path:
        task = tmp_path / "task"
        if not task.exists():
            shutil.copytree(FOLDER, task, ignore=shutil.ignore_patterns("__pycache__"))
        text = (FOLDER / "task.toml").read_text()
        head, _, rest = text.partition("[data]\n")
        lines = [f"{key} = {json.dumps(value)}" for key, value in ({"seed": 1, "megabytes": 3} | settings).items()]
        (task / "task.toml").write_text(f"{head}[data]\n{chr(10).join(lines)}\n\n[score]{rest.partition('[score]')[2]}")
        out = tmp_path / f"{split}-{seed}-{len(list(tmp_path.iterdir()))}"
        command = [sys.executable, "-B", "-c", MAKE, str(task), split, str(seed), str(out)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(done.stderr.strip().splitlines()[-1])
        return out

    return make


def arrays(split: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    inputs, targets, sizes = (np.load(split / f"{name}.npy") for name in ("inputs", "targets", "bytes"))
    return inputs, targets, sizes


def test_the_generated_splits(made: Made) -> None:
    train, hidden = made("train"), made("search", 5)
    text = np.fromfile(train / "train.bin", "<u2")
    table = json.loads((train / "vocabulary.json").read_text())
    sizes = np.array([len(symbol) for symbol in table["symbols"]])
    assert len(sizes) == 1024 and text.max() < 1018
    assert sizes[text].mean() == pytest.approx(table["bytes_per_symbol"])
    assert 2e6 < sizes[text].sum() < 4e6
    inputs, targets, counted = arrays(hidden)
    assert inputs.shape == targets.shape == (32, 512)
    assert (inputs[:, 0] == 0).all() and (inputs[:, 1:] == np.maximum(targets[:, :-1], 0)).all()
    assert sizes[targets[targets >= 0]].sum() == counted.sum()
    floor = json.loads((hidden / "floor.json").read_text())
    assert floor["bytes"] == counted.sum() and 0.6 < floor["bits_per_byte"] < 0.9
    again = arrays(made("search", 5))
    assert all((a == b).all() for a, b in zip(again, (inputs, targets, counted), strict=True))
    assert (arrays(made("search", 6))[1] != targets).any()


def write_corpus(folder: Path, kilobytes: int = 900) -> list[str]:
    """Files of several kinds with words that a BPE can learn; returns their lines."""
    rng = np.random.default_rng(1)
    words = ["".join(rng.choice(list("aeioubdklmnrst"), 2 + number % 6)) for number in range(600)]
    words += ["größer", "λ", "日本"]
    lines = [f"{number}: {' '.join(rng.choice(words, 12))}." for number in range(kilobytes * 1000 // 75)]
    folder.mkdir()
    for number, part in enumerate(np.array_split(np.array(lines), 7)):
        suffix = (".txt", ".md", ".py")[number % 3]
        (folder / f"{number}{suffix}").write_text("\n".join(part.tolist()) + "\n")
    (folder / "empty.txt").touch()
    (folder / "picture.png").write_bytes(b"\xff\xfe\x00")
    return lines


def decoded(table: dict[str, list[str]], symbols: np.ndarray) -> str:
    return b"".join(table["symbols"][s].encode("latin-1") for s in symbols.tolist()).decode()


@pytest.mark.slow
def test_a_folder_of_text(made: Made, tmp_path: Path) -> None:
    lines = set(write_corpus(tmp_path / "corpus"))
    source = str(tmp_path / "corpus")
    train = made("train", source=source)
    hidden = {split: arrays(made(split, 7, source=source)) for split in ("search", "selection", "confirmation")}
    table = json.loads((train / "vocabulary.json").read_text())
    assert len(table["symbols"]) == 1024 and table["symbols"][0] == ""
    assert table["bytes_per_symbol"] > 2.0, "merges were learned"
    text = np.fromfile(train / "train.bin", "<u2")
    pieces = [decoded(table, piece[1:]) for piece in np.split(text, np.flatnonzero(text == 0)[1:])]
    learned = {line for piece in pieces for line in piece.splitlines()}
    assert len(learned & lines) > 0.8 * len(lines) and learned <= lines
    seen = set()
    for inputs, targets, sizes in hidden.values():
        assert (inputs[:, 0] == 0).all() and (targets != 0).all() and len(inputs) >= 8
        bytes_of = np.array([len(symbol) for symbol in table["symbols"]])
        assert sizes.sum() == bytes_of[targets[targets >= 0]].sum()
        whole = decoded(table, np.concatenate([row[row >= 0] for row in targets])).splitlines()[1:-1]
        held = set(whole) & lines
        assert len(held) > 100 and not held & learned and not held & seen
        seen |= held
    again = arrays(made("search", 7, source=source))
    assert all((a == b).all() for a, b in zip(again, hidden["search"], strict=True))
    other = arrays(made("search", 8, source=source))
    assert other[1].shape != hidden["search"][1].shape or (other[1] != hidden["search"][1]).any()


@pytest.mark.slow
def test_parquet_with_a_column_text(made: Made, tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    lines = write_corpus(tmp_path / "lines")
    documents = ["\n".join(lines[i : i + 20]) for i in range(0, len(lines), 20)]
    (tmp_path / "corpus").mkdir()
    pq.write_table(
        pa.table({"id": range(len(documents) + 2), "text": [*documents, "", None]}), tmp_path / "corpus" / "a.parquet"
    )
    train = made("train", source=str(tmp_path / "corpus"))
    table = json.loads((train / "vocabulary.json").read_text())
    text = np.fromfile(train / "train.bin", "<u2")
    assert decoded(table, text[1:400]).splitlines()[0] in lines
    assert len(arrays(made("search", source=str(tmp_path / "corpus")))[0]) >= 8


def test_one_line_of_a_megabyte(made: Made, tmp_path: Path) -> None:
    lines = write_corpus(tmp_path / "lines")
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "long.txt").write_text("x" * 5000 + " ".join(lines))
    text = np.fromfile(made("train", source=str(tmp_path / "corpus")) / "train.bin", "<u2")
    assert len(text) > 150_000 and np.diff(np.flatnonzero(text == 0)).max() <= 4097 * 4


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.txt", b"good\nbad \xe4 byte\n", r"a\.txt:2: not UTF-8 \(byte 9\); convert the file or take it away"),
        ("a.txt", b"a little text\n", r"corpus: too little text; \[data\] source should hold 1 MB or more"),
        ("a.txt", b"", r"corpus: too little text"),
        ("a.bin", b"nothing that is read", r"corpus: no text there"),
        ("a.parquet", b"not parquet", r"a\.parquet: no column `text` can be read: "),
    ],
)
def test_what_is_wrong_is_told_in_one_line(made: Made, tmp_path: Path, name: str, content: bytes, said: str) -> None:
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / name).write_bytes(content)
    with pytest.raises(RuntimeError) as error:
        made("train", source=str(tmp_path / "corpus"))
    assert re.search(said, str(error.value)), error.value


def test_a_folder_that_is_not_there(made: Made, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"/nowhere: no such folder; correct \[data\] source in task.toml"):
        made("train", source="/nowhere")


def test_parquet_without_that_column(made: Made, tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    (tmp_path / "corpus").mkdir()
    pq.write_table(pa.table({"body": ["a", "b"]}), tmp_path / "corpus" / "a.parquet")
    with pytest.raises(RuntimeError, match=r"a\.parquet: no column `text` can be read: .*text"):
        made("train", source=str(tmp_path / "corpus"))
