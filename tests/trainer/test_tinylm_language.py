"""The generated language of tinylm: the same bytes everywhere, a known entropy floor, tokens that round-trip."""

from __future__ import annotations

import hashlib
import json
import lzma
import math
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from tests.trainer.shelf import module_of
from trainer.task import Task


@pytest.fixture(scope="module")
def data() -> ModuleType:
    return module_of(Task.load("tinylm"), "data")


def written(data: ModuleType, language: int, seed: int, count: int) -> list[tuple[str, float]]:
    """Documents and the bits that the writer counted for each."""
    draw, spent = data.counting(data.Dice(language, seed))
    writer = data.Writer(data.lexicon(language), draw)
    found = []
    for _ in range(count):
        spent.clear()
        text = data.spell(writer.document())
        found.append((text, math.fsum(spent)))
    return found


def test_a_seed_means_the_same_bytes_everywhere(data: ModuleType) -> None:
    symbols, bits = data.documents(1, "search", 7, 50_000)
    assert hashlib.sha256(symbols.tobytes()).hexdigest()[:16] == "487c1d7bdda64dca"
    assert bits == pytest.approx(38509.143719, abs=1e-6)


@pytest.mark.parametrize("language", [1, 2])
def test_reader_recomputes_the_bits_from_the_text_alone(data: ModuleType, language: int) -> None:
    documents = written(data, language, seed=3, count=500)
    reader = data.Reader(data.lexicon(language))
    assert max(abs(reader.bits(text) - bits) for text, bits in documents) < 1e-9
    assert len({text for text, _ in documents}) == 500


def test_reader_refuses_what_the_grammar_cannot_write(data: ModuleType) -> None:
    (text, bits), (other, _) = written(data, 1, seed=4, count=2)
    reader = data.Reader(data.lexicon(1))
    assert reader.bits(text) == pytest.approx(bits, abs=1e-9)
    for wrong in (text[:-1], text + "x", text + other, text.replace(".", "", 1), text[:40], "", "\n", text.upper()):
        with pytest.raises(ValueError):
            reader.bits(wrong)


def test_the_writer_draws_as_often_as_the_bits_say(data: ModuleType) -> None:
    """Mean surprise of a table's draws is its entropy: 20,000 draws from a noun table, standard error 0.012 bits."""
    table = data.lexicon(1).nouns[0][0]
    dice = data.Dice(9)
    entropy = sum(bits * 2.0**-bits for bits in table.bits.values())
    mean = sum(table.bits[dice.draw(table)] for _ in range(20_000)) / 20_000
    assert sum(2.0**-bits for bits in table.bits.values()) == pytest.approx(1.0, abs=1e-12)
    assert mean == pytest.approx(entropy, abs=0.05)


def test_text_round_trips_through_tiktoken(data: ModuleType) -> None:
    symbols, _ = data.documents(1, "search", 5, 20_000)
    encoding = data.encoding()
    text = data.spell(symbols.tobytes())
    assert encoding.n_vocab == data.VOCABULARY == 189
    assert encoding.encode(text) == symbols.tolist()
    assert encoding.decode(symbols.tolist()) == text


def test_hidden_rows_hold_every_symbol_once_and_tell_the_floor(data: ModuleType, tmp_path: Path) -> None:
    data.make("search", 11, tmp_path)
    inputs, targets, sizes = (np.load(tmp_path / f"{name}.npy") for name in ("inputs", "targets", "bytes"))
    stream, bits = data.documents(1, "search", 11, data.HIDDEN_BYTES)
    text = data.spell(stream.tobytes()).encode()
    assert inputs.shape == targets.shape == (len(sizes), data.ROW)
    assert targets[targets >= 0].tolist() == stream.tolist()
    assert (inputs[:, 1:] == np.maximum(targets[:, :-1], 0)).all()
    assert (inputs[:, 0] == data.NEWLINE[0]).all(), "a row must not start with the last target of another"
    assert int(sizes.sum()) == len(text)
    floor = json.loads((tmp_path / "floor.json").read_text())
    assert floor["bits"] == pytest.approx(bits) and floor["bytes"] == len(text)
    assert 0.5 < floor["bits_per_byte"] < 8 * len(lzma.compress(text)) / len(text)


def test_training_text_is_whole_documents(data: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "TRAIN_BYTES", 100_000)
    data.make("train", 1, tmp_path)
    symbols = np.load(tmp_path / "train.npy")
    text = data.spell(symbols.tobytes())
    assert symbols.dtype == np.uint8 and len(text) >= 100_000
    reader = data.Reader(data.lexicon(1))
    lines = text.split("\n")[:-1]
    assert all(reader.bits(f"{header}\n{body}\n") > 0 for header, body in zip(lines[::2], lines[1::2], strict=True))
