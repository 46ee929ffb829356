"""Makes the splits of this task: documents of a generated language, as symbol numbers.

``make("train", seed, out)`` writes ``train.npy`` (uint8, some 12 MB of text); any other split writes the
hidden rows of the referee (``inputs.npy``, ``targets.npy``, ``bytes.npy``) and ``floor.json``. The language
itself is number ``[data] grammar`` in task.toml: another number there is another language, and another task.
"""

from __future__ import annotations

import json
import math
import sys
import tomllib
from functools import lru_cache
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
_beside = str(HERE)  # the generator's modules lie beside this file, wherever it is loaded from
sys.path.insert(0, _beside)
from tinylm_lexicon import Lexicon  # noqa: E402
from tinylm_reader import Reader  # noqa: E402
from tinylm_symbols import LENGTHS, NEWLINE, VOCABULARY, encoding, spell  # noqa: E402
from tinylm_tables import Dice, counting  # noqa: E402
from tinylm_writer import Writer  # noqa: E402

sys.path.remove(_beside)  # train, prepare and data are names that other tasks have too

TRAIN_BYTES = 12_000_000
ROW = 256  # symbols in a hidden row
HIDDEN_BYTES = 48_000
UNSCORED = -1  # target of a padded place
SYMBOL_BYTES = np.array(LENGTHS)


@lru_cache(maxsize=2)
def lexicon(language: int) -> Lexicon:
    return Lexicon(language)


def language() -> int:
    """The number of this task's language, which is its seed."""
    return int(tomllib.loads((HERE / "task.toml").read_text())["data"]["grammar"])


def documents(language: int, split: str, seed: int, size: int) -> tuple[np.ndarray, float]:
    """Whole documents of at least ``size`` bytes as symbol numbers, and their bits.

    The bits of the training split are nan: nobody is scored on it, and counting would double its cost.
    """
    dice = Dice(language, seed, *split.encode())
    draw, spent = (dice.draw, [math.nan]) if split == "train" else counting(dice)
    writer = Writer(lexicon(language), draw)
    parts, written = [], 0
    while written < size:
        part = np.frombuffer(writer.document(), dtype=np.uint8)
        parts.append(part)
        written += int(SYMBOL_BYTES[part].sum())
    return np.concatenate(parts), math.fsum(spent)


def rows(stream: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Inputs and targets [rows, 256], bytes of each row's targets [rows]; every symbol is a target once.

    Each row starts with a newline: the symbol before it is the last target of another row, and would give it away.
    """
    count = -(-len(stream) // ROW)
    targets = np.full(count * ROW, UNSCORED, dtype=np.int64)
    targets[: len(stream)] = stream
    targets = targets.reshape(count, ROW)
    start = np.full((count, 1), ord(NEWLINE), dtype=np.int64)
    inputs = np.concatenate([start, np.maximum(targets[:, :-1], 0)], axis=1)
    sizes = np.where(targets < 0, 0, SYMBOL_BYTES[targets])
    return inputs, targets, sizes.sum(1)


def make(split: str, seed: int, out: Path) -> None:
    """Write a split into the existing or new folder ``out``."""
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    if split == "train":
        stream, _ = documents(language(), split, seed, TRAIN_BYTES)
        np.save(out / "train.npy", stream)
        return
    stream, bits = documents(language(), split, seed, HIDDEN_BYTES)
    inputs, targets, sizes = rows(stream)
    for name, array in (("inputs", inputs), ("targets", targets), ("bytes", sizes)):
        np.save(out / f"{name}.npy", array)
    total = int(sizes.sum())
    floor = {"bits": bits, "bytes": total, "bits_per_byte": bits / total}
    (out / "floor.json").write_text(json.dumps(floor) + "\n")


__all__ = ["VOCABULARY", "Reader", "documents", "encoding", "language", "lexicon", "make", "rows", "spell"]
