"""The built-in task codelm: its text, its symbols, what is hidden of it; the trainer is tinylm's."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from tests.trainer.shelf import fixed_trainer, module_of, patches
from trainer.edits import Edit
from trainer.experiment import Spec, Trainer
from trainer.streams import STREAMS
from trainer.task import Task

TASK = Task.load("codelm")
PATCHES = patches(TASK)


@pytest.fixture(scope="module")
def data() -> ModuleType:
    return module_of(TASK, "data")


@pytest.fixture(scope="module")
def text(data: ModuleType) -> ModuleType:
    """The module beside data.py, as that has loaded it."""
    return sys.modules["codelm_text"]


@pytest.fixture(scope="module")
def documents(data: ModuleType) -> list[bytes]:
    found: list[bytes] = data.documents("stdlib")
    return found


def test_the_trainer_is_tinylm_s_so_that_ideas_transfer() -> None:
    other = Task.load("tinylm")
    bodies = [task.baseline().text().split('"""', 2)[2] for task in (TASK, other)]
    assert bodies[0] == bodies[1]
    assert TASK.edits == other.edits


def test_the_text_is_source_code_each_file_once(documents: list[bytes]) -> None:
    assert len(documents) == len(set(documents)) > 200
    assert sum(map(len, documents)) > 4_000_000
    assert any(text.startswith(b'r"""JSON') or b"class JSONDecoder" in text for text in documents)
    assert all(text.endswith(b"\n") and b"\0" not in text for text in documents)


def test_hidden_text_stands_in_no_training_text(data: ModuleType, text: ModuleType, documents: list[bytes]) -> None:
    known = b"".join(data.training(documents))
    pools = {split: documents[number :: text.EVERY] for number, split in enumerate(STREAMS)}
    for split, pool in pools.items():
        assert not set(pool) & set(data.training(documents))
        hidden = data.hidden(documents, split, 3, 20_000)
        assert len(hidden) >= 20_000
        runs = list(runs_of(hidden.splitlines(keepends=True), text.PASSAGE))[::4]
        met = sum(part in known for part in runs)
        assert met <= 0.01 * len(runs), f"{split}: {met} of {len(runs)} passages"


def runs_of(lines: list[bytes], size: int) -> Iterator[bytes]:
    """As `passages` finds them, in another way; a run over the border of two pieces is nobody's passage."""
    for first in range(len(lines)):
        run, last = b"", first
        while len(run) < size and last < len(lines):
            run, last = run + lines[last], last + 1
        if len(run) >= size:
            yield run


def test_a_passage_that_training_holds_is_left_out(text: ModuleType) -> None:
    shared = [b"# the licence, line %d, and what else it says there\n" % number for number in range(6)]
    own = [b"value_%d = %d\n" % (number, number) for number in range(40)]
    known = {passage for _, _, passage in text.passages([b"import os\n", *shared, b"def f():\n"])}
    assert text.fresh([*own[:20], *shared, *own[20:]], known) == own
    assert text.fresh(own, known) == own


def test_splits_are_of_their_own_and_follow_the_seed(data: ModuleType, documents: list[bytes]) -> None:
    drawn = [data.hidden(documents, split, 1, 20_000) for split in ("search", "search", "selection", "reserve")]
    assert drawn[0] == drawn[1] and len({*drawn, data.hidden(documents, "search", 2, 20_000)}) == 4


def test_any_text_has_symbols(data: ModuleType) -> None:
    text = bytes(range(256)) * 3 + "größe, дом, 日本\n    return self.value\n".encode()
    symbols = data.ALPHABET.encode(text)
    assert data.ALPHABET.spell(symbols) == text
    assert len(symbols) < len(text) and int(data.ALPHABET.lengths[symbols].sum()) == len(text)
    assert len(data.ALPHABET.symbols) == len(set(data.ALPHABET.symbols)) == TASK.scoring["classes"] == 384
    assert "VOCAB = 384 " in (TASK.folder / "prepare.py").read_text()


def test_fragments_join_the_most_frequent_neighbours(data: ModuleType) -> None:
    assert data.learn(b"ababab xyz", 2) == [b"ab", b"abab"]
    assert data.learn(b"aaaaaaaaa", 2) == [b"aa", b"aaaa"]
    assert data.learn(b"abc", 300) == [b"ab", b"abc"]
    assert all(len(fragment) <= 16 for fragment in data.learn(b"x" * 10_000, 20))


def test_hidden_rows_hold_every_symbol_once(data: ModuleType, tmp_path: Path) -> None:
    data.make("search", 11, tmp_path)
    inputs, targets, sizes = (np.load(tmp_path / f"{name}.npy") for name in ("inputs", "targets", "bytes"))
    text = data.hidden(data.documents("stdlib"), "search", 11, data.HIDDEN_BYTES)
    assert inputs.shape == targets.shape == (len(sizes), data.ROW)
    assert data.ALPHABET.spell(targets[targets >= 0]) == text
    assert (inputs[:, 1:] == np.maximum(targets[:, :-1], 0)).all()
    assert (inputs[:, 0] == ord("\n")).all(), "a row must not start with the last target of another"
    assert int(sizes.sum()) == len(text)


@pytest.fixture(scope="module")
def trainer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trainer]:
    with fixed_trainer(TASK, tmp_path_factory.mktemp("codelm")) as one:
        yield one


@pytest.mark.slow
def test_streams_confirm_what_chunks_score(trainer: Trainer) -> None:
    outcome = trainer.run(Spec(TASK.baseline(), seed=5, stream="confirmation", fraction=0.3))
    assert outcome.status == "ok", outcome.reason
    assert outcome.trust == ("verified" if trainer.launcher.sandboxed else "unverified")
    assert outcome.findings == () and outcome.metric is not None and 2.0 < outcome.metric < 6.0
    assert outcome.metric == trainer.run(Spec(TASK.baseline(), seed=5, stream="confirmation", fraction=0.3)).metric


@pytest.mark.slow
def test_all_patches_together_train(trainer: Trainer) -> None:
    edit = Edit({"BATCH": 4, "CTX": 32, "DEPTH": 1, "LR": 0.003}, PATCHES)
    outcome = trainer.run(Spec(TASK.edits.apply(TASK.baseline(), edit), seed=5))
    assert outcome.status == "ok", outcome.reason
