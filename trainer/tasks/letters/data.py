"""Generator of windows of letters and the letter that follows. Number ``[data] variant`` of task.toml is another language:
other words, other frequencies, another order of the words.

Only raw PCG64 words and the exactly rounded operations + - * / are used, so that a seed means the same file everywhere.
Trusted side only: a candidate sees the training split and never the seeds of the hidden ones.
"""

from __future__ import annotations

import tomllib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

HERE = Path(__file__).resolve().parent
LETTERS = 27  # 0 is the space between words
SPAN = 16  # letters of a window
ROWS = {"train": 12000, "hidden": 2000}
KINDS = 4  # of words; which kind follows which is the grammar
LAW = 0x1E77E  # mixed into the seed of a variant's law, so that it is no seed of its text

Array = NDArray[np.float64]


class Words:
    """Random numbers cut out of raw PCG64 words; the words of a seed never change between NumPy versions."""

    def __init__(self, seed: int) -> None:
        self._bits = np.random.PCG64(seed)

    def uniform(self, count: int) -> Array:
        """Multiples of 2**-32 in [0, 1)."""
        words = np.asarray(self._bits.random_raw(count), dtype=np.uint64)
        return (words >> np.uint64(32)).astype(np.float64) / 4294967296.0

    def whole(self, below: int) -> int:
        return int(self.uniform(1)[0] * below)


def variant() -> int:
    return int(tomllib.loads((HERE / "task.toml").read_text())["data"]["variant"])


def make(split: str, seed: int, out: Path) -> None:
    """Write inputs.npy, uint8 [rows, SPAN], and targets.npy, int64 [rows], the letter after each window, of a split."""
    law = Words(LAW * 1_000_003 + variant())
    lexicon = [_lexicon(law) for _ in range(KINDS)]
    follows = [_shares(law, KINDS, 2) for _ in range(KINDS)]
    frequencies = [_shares(law, len(words), 1) for words in lexicon]
    slips = (0.0, 0.02, 0.06)[law.whole(3)]  # share of letters that are wrong
    text = Words(seed)
    rows = ROWS.get(split, ROWS["hidden"])
    letters = _text(text, lexicon, follows, frequencies, rows * 3 + SPAN + 1)
    wrong = text.uniform(len(letters)) < slips
    letters = np.where(wrong, (text.uniform(len(letters)) * LETTERS).astype(np.int64), letters)
    starts = 3 * np.arange(rows)
    np.save(out / "inputs.npy", letters[starts[:, None] + np.arange(SPAN)].astype(np.uint8))
    np.save(out / "targets.npy", letters[starts + SPAN])


def _lexicon(law: Words) -> list[list[int]]:
    """Some ten to fifty words of two to seven letters; which letters follow each other is the language's own."""
    common = (1 + law.uniform(8) * (LETTERS - 1)).astype(np.int64)  # letters that this kind of word has most
    words = []
    for _ in range(10 + law.whole(40)):
        length = 2 + law.whole(6)
        any_letter = (1 + law.uniform(length) * (LETTERS - 1)).astype(np.int64)
        usual = common[(law.uniform(length) * len(common)).astype(np.int64)]
        words.append([int(one) for one in np.where(law.uniform(length) < 0.7, usual, any_letter)])
    return words


def _shares(law: Words, count: int, power: int) -> Array:
    """Cumulated shares that add up to one, unequal by the power."""
    sizes = law.uniform(count) + 0.02
    total = sizes if power == 1 else sizes * sizes * sizes
    return np.cumsum(total) / total.sum()


def _text(
    text: Words, lexicon: list[list[list[int]]], follows: list[Array], often: list[Array], length: int
) -> NDArray[np.int64]:
    letters: list[int] = []
    kind = 0
    while len(letters) < length:
        draws = text.uniform(2)
        word = lexicon[kind][min(int(np.searchsorted(often[kind], draws[0])), len(lexicon[kind]) - 1)]
        letters += [*word, 0]
        kind = min(int(np.searchsorted(follows[kind], draws[1])), KINDS - 1)
    return np.array(letters[:length], dtype=np.int64)
