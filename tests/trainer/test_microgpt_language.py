"""The generated language of microgpt: the same bytes everywhere, an entropy that is known exactly."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import math
from itertools import product
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from trainer.task import Task

FOLDER = Task.load("microgpt").folder


@pytest.fixture(scope="module")
def data() -> ModuleType:
    spec = importlib.util.spec_from_file_location("microgpt_data", FOLDER / "data.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def every_line(data: ModuleType, language: Any) -> list[str]:
    """All that the language can say, put together here and not by its own code."""
    found = []
    for plural, subject, verb, tense in product((False, True), language.subject.bits, language.verb.bits, data.TENSES):
        start = subject + ("ne" if subject[1] in data.FRONT else "na") * plural
        start += " " + verb + tense + ("i" if verb[1] in data.FRONT else "a") + "n" * plural
        tails = ["", *(f" {noun}s" for noun in language.objects[verb].bits)]
        found += [start + tail + echo + "\n" for tail in tails for echo in ("", f" {subject}-{subject}")]
    return found


def test_a_seed_means_the_same_bytes_everywhere(data: ModuleType, tmp_path: Path) -> None:
    data.make("train", 1, tmp_path)
    text = (tmp_path / "train.bin").read_bytes()
    assert hashlib.sha256(text).hexdigest()[:16] == "bb857192231444dd"
    rows = data.hidden(7, "search")
    assert hashlib.sha256(repr(rows).encode()).hexdigest()[:16] == "ccf2295b047d696e"


@pytest.mark.parametrize("seed", [1, 2])
def test_the_probabilities_of_all_lines_sum_to_one(data: ModuleType, seed: int) -> None:
    language = data.language(seed)
    lines = every_line(data, language)
    assert len(set(lines)) == len(lines) == 2 * 16 * 8 * 4 * 10
    assert math.fsum(2.0 ** -language.bits(line) for line in lines) == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize("seed", [1, 2])
def test_bits_from_the_text_alone_are_what_the_writer_drew(
    data: ModuleType, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    spent: list[float] = []
    draw = data.Table.draw

    def noted(table: Any, dice: Any) -> Any:
        item = draw(table, dice)
        spent.append(12 - math.log2(table.cells.count(item)))
        return item

    monkeypatch.setattr(data.Table, "draw", noted)
    language, dice = data.language(seed), data.Dice(seed, 3)
    for _ in range(300):
        spent.clear()
        line = language.line(dice)
        assert language.bits(line) == pytest.approx(math.fsum(spent), abs=1e-9)


@pytest.mark.parametrize("change", ["x{}", "{}\n", "{0}-", " {}", "{} ", "{} bado", "{}-bado", ""])
def test_what_it_cannot_say_is_refused(data: ModuleType, change: str) -> None:
    language = data.language(1)
    line = language.line(data.Dice(1, 5)).rstrip("\n")
    with pytest.raises(ValueError, match=r"is no sentence|no word"):
        language.bits(change.format(line) + "\n")


def test_the_floor_is_the_hidden_lines_bits_over_their_bytes(data: ModuleType, tmp_path: Path) -> None:
    data.make("search", 5, tmp_path)
    inputs, targets, sizes = (np.load(tmp_path / f"{name}.npy") for name in ("inputs", "targets", "bytes"))
    assert inputs.shape == targets.shape == (20, 64) and sizes.shape == (20,)
    assert (inputs[:, 0] == 0).all()  # a line feed: what stood before a row tells nothing
    assert ((targets >= 0).sum(1) == sizes).all()
    assert (np.where(targets[:, :-1] < 0, 0, targets[:, :-1]) == inputs[:, 1:]).all()
    texts = [data.spell([one for one in row if one >= 0]) for row in targets.tolist()]
    lines = [line for text in texts for line in text.splitlines(keepends=True)]
    assert all(text.endswith("\n") for text in texts) and len("".join(texts).encode()) == sizes.sum()
    floor = json.loads((tmp_path / "floor.json").read_text())
    language = data.language(data.own_language())
    assert floor["bits"] == pytest.approx(sum(map(language.bits, lines)), abs=1e-9)
    assert floor["bits_per_byte"] == floor["bits"] / sizes.sum()


def test_other_seeds_and_splits_are_other_lines(data: ModuleType) -> None:
    found = {repr(data.hidden(seed, split)) for split in ("search", "selection", "validation") for seed in (1, 2)}
    assert len(found) == 6
    assert data.language(1).subject.bits.keys() != data.language(2).subject.bits.keys()


def test_train_py_has_the_same_alphabet(data: ModuleType) -> None:
    told = next(line for line in (FOLDER / "prepare.py").read_text().splitlines() if line.startswith("ALPHABET"))
    assert told == f"ALPHABET = {json.dumps(data.ALPHABET)}"
    assert len(data.ALPHABET) == Task.load("microgpt").scoring["classes"]
