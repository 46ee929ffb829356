"""Generator of tables with one number to predict. Number ``[data] variant`` of task.toml is another table: other columns
matter, in other ways, with other noise and other units.

Only raw PCG64 words and the exactly rounded operations + - * / are used, so that a seed means the same file everywhere.
Trusted side only: a candidate sees the training split and never the seeds of the hidden ones.
"""

from __future__ import annotations

import tomllib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

HERE = Path(__file__).resolve().parent
COLUMNS = 16
ROWS = {"train": 8000, "hidden": 2000}
UNITS = (0.3, 0.5, 0.8, 1.2, 2.0)  # of a column
LAW = 0x7AB1E  # mixed into the seed of a variant's law, so that it is no seed of its rows

Array = NDArray[np.float64]


class Words:
    """Random numbers cut out of raw PCG64 words; the words of a seed never change between NumPy versions."""

    def __init__(self, seed: int) -> None:
        self._bits = np.random.PCG64(seed)

    def uniform(self, *shape: int) -> Array:
        """Multiples of 2**-32 in [0, 1), of the given shape."""
        words = np.asarray(self._bits.random_raw(int(np.prod(shape))), dtype=np.uint64)
        return ((words >> np.uint64(32)).astype(np.float64) / 4294967296.0).reshape(shape)

    def bell(self, *shape: int) -> Array:
        """Sum of four uniform draws, centred, of standard deviation one: close to a normal draw."""
        total = self.uniform(*shape) + self.uniform(*shape) + self.uniform(*shape) + self.uniform(*shape)
        return (total - 2.0) * 1.7320508

    def whole(self, below: int, count: int) -> list[int]:
        return [int(number) for number in self.uniform(count) * below]


def variant() -> int:
    return int(tomllib.loads((HERE / "task.toml").read_text())["data"]["variant"])


def make(split: str, seed: int, out: Path) -> None:
    """Write inputs.npy, float32 [rows, COLUMNS], and targets.npy, float32 [rows], of a split."""
    law, rows = Words(LAW * 1_000_003 + variant()), ROWS.get(split, ROWS["hidden"])
    unit = np.array([UNITS[at] for at in law.whole(len(UNITS), COLUMNS)])
    offset = (law.uniform(COLUMNS) - 0.5) * 2.0
    together = law.uniform(COLUMNS) * 0.8  # how much a column shares with the one before
    terms = 3 + law.whole(6, 1)[0]
    noise = (0.05, 0.1, 0.2, 0.4)[law.whole(4, 1)[0]]
    words = Words(seed)
    hidden = words.bell(rows, COLUMNS)
    for column in range(1, COLUMNS):
        hidden[:, column] = hidden[:, column] + together[column] * hidden[:, column - 1]
    target = np.zeros(rows)
    for _ in range(terms):
        target = target + _term(law, hidden)
    target = target / terms + noise * words.bell(rows)
    np.save(out / "inputs.npy", ((hidden + offset) * unit).astype(np.float32))
    np.save(out / "targets.npy", target.astype(np.float32))


def _term(law: Words, hidden: Array) -> Array:
    """One effect of one or two columns."""
    first, second = law.whole(COLUMNS, 2)
    size = 0.5 + law.uniform(1)[0] * 1.5
    one, two = hidden[:, first], hidden[:, second]
    shapes = (
        one,
        np.abs(one),
        np.maximum(one, 0.5),
        np.where(one > 0.0, 1.0, -1.0),
        one * one - 1.0,
        one * two,
        np.where(two > 0.0, one, -one),
        np.minimum(np.maximum(one + two, -1.0), 1.0),
    )
    return size * shapes[law.whole(len(shapes), 1)[0]]
