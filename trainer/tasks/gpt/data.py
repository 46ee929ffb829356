"""Makes the splits of this task: documents of a generated language, or the user's own text, as symbol numbers.

``make("train", seed, out)`` writes ``train.bin`` (uint16, to be mapped into memory) and ``vocabulary.json``; any other
split writes the hidden rows of the referee (``inputs.npy``, ``targets.npy``, ``bytes.npy``) and, of a generated
language, ``floor.json``. ``[data]`` of task.toml: ``megabytes`` of training text at most, ``source``, a folder of text
or parquet files, or ``grammar``, the number of another language.
"""

from __future__ import annotations

import json
import os
import sys
import tomllib
from concurrent.futures import ProcessPoolExecutor
from functools import lru_cache, partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
_beside = str(HERE)  # the generator's modules lie beside this file, wherever it is loaded from
sys.path.insert(0, _beside)
import gpt_language  # noqa: E402
import gpt_text  # noqa: E402
from gpt_writer import Writer  # noqa: E402

sys.path.remove(_beside)  # train, prepare and data are names that other tasks have too

VOCABULARY = 1024  # a multiple of 128: of a generated language the last six symbols never occur
ROW, ROWS, LEAST_ROWS = 512, 32, 8  # symbols in a hidden row, hidden rows, and as few as will do
START, UNSCORED = 0, -1  # the symbol before each row and document; target of a place that does not count
BLOCK, BLOCK_BYTES = 4096, 2_390_000  # documents that are written at a time, and what they come to


def settings() -> dict[str, Any]:
    """The section [data] of the task.toml beside this file."""
    found: dict[str, Any] = tomllib.loads((HERE / "task.toml").read_text("utf-8"))["data"]
    return found


@lru_cache(maxsize=2)
def language(number: int) -> gpt_language.Language:
    return gpt_language.Language(number)


def number_of(data: dict[str, Any]) -> int:
    """Which generated language: ``grammar``, else the seed of the data."""
    return int(data.get("grammar", data["seed"]))


def block(number: int, split: str, seed: int, count: int, index: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Documents of a language: symbols, lengths of the documents, their bits; of one block of a split."""
    raw = np.random.PCG64(np.random.SeedSequence((number, seed, *split.encode(), index)))
    return Writer(language(number), raw).documents(count)


def _symbols_of_block(number: int, seed: int, index: int) -> np.ndarray:
    return block(number, "train", seed, BLOCK, index)[0]


def _train_generated(data: dict[str, Any], seed: int, out: Path) -> None:
    blocks = max(1, round(data["megabytes"] * 1e6 / BLOCK_BYTES))
    of_block = partial(_symbols_of_block, number_of(data), seed)
    workers = min(blocks, os.cpu_count() or 1)
    with ProcessPoolExecutor(workers, get_context("fork")) as pool, (out / "train.bin").open("wb") as file:
        for symbols in pool.map(of_block, range(blocks)):
            file.write(symbols.astype("<u2").tobytes())
    padding = VOCABULARY - len(gpt_language.SYMBOLS)
    _write_vocabulary(out, [symbol.encode() for symbol in gpt_language.SYMBOLS] + [b""] * padding)


def _train_text(data: dict[str, Any], out: Path) -> None:
    source = data["source"]
    ranks = gpt_text.train_merges(source, VOCABULARY - 1)
    with (out / "train.bin").open("wb") as file:
        for symbols in gpt_text.encoded(source, "train", ranks, int(data["megabytes"] * 1e6)):
            file.write(symbols.astype("<u2").tobytes())
    if (out / "train.bin").stat().st_size < 2 * ROWS * ROW:
        raise _too_little(source)
    _write_vocabulary(out, [b"", *ranks])


def _too_little(source: str) -> SystemExit:
    return SystemExit(f"{source}: too little text; [data] source should hold 1 MB or more")


def _write_vocabulary(out: Path, symbols: list[bytes]) -> None:
    """What each symbol stands for, and how many bytes one of the training text has in the mean."""
    sizes = np.array([len(symbol) for symbol in symbols])
    text = np.memmap(out / "train.bin", "<u2", "r")
    found = {
        "bytes_per_symbol": float(sizes[text[:10_000_000]].mean()),
        "symbols": [symbol.decode("latin-1") for symbol in symbols],
    }
    (out / "vocabulary.json").write_text(json.dumps(found) + "\n")


def _hidden_generated(data: dict[str, Any], split: str, seed: int) -> tuple[np.ndarray, np.ndarray, float]:
    """The symbols of as many whole documents as fit, the bytes of each symbol, and their bits in all."""
    symbols, lengths, bits = block(number_of(data), split, seed, 256, 0)
    whole = int((lengths.cumsum() <= ROWS * ROW).sum())
    return symbols[: lengths[:whole].sum()].astype(np.int64), gpt_language.lengths(), float(bits[:whole].sum())


def _hidden_text(data: dict[str, Any], split: str, seed: int) -> tuple[np.ndarray, np.ndarray, None]:
    source = data["source"]
    ranks = gpt_text.train_merges(source, VOCABULARY - 1)
    found = list(gpt_text.encoded(source, split, ranks, 1_000_000))
    symbols = np.concatenate(found) if found else np.zeros(0, dtype=np.int64)
    if len(symbols) < LEAST_ROWS * ROW:
        raise _too_little(source)
    starts = np.flatnonzero(symbols == START)
    order = np.argsort(np.random.PCG64(np.random.SeedSequence(seed)).random_raw(len(starts)), kind="stable")
    shuffled = np.concatenate([np.split(symbols, starts[1:])[i] for i in order])
    sizes = np.array([0, *map(len, ranks)])
    return shuffled[: min(ROWS, len(shuffled) // ROW) * ROW], sizes, None


def rows(symbols: np.ndarray, sizes: np.ndarray, unscored: int | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Inputs and targets [rows, 512], bytes of each row's targets [rows]; every symbol is a target once.

    Each row starts with the symbol before documents: the last target of another row would give it away. ``unscored``:
    a symbol that stands for no byte, and is no target.
    """
    count = -(-len(symbols) // ROW)
    text = np.full(count * ROW, UNSCORED, dtype=np.int64)
    text[: len(symbols)] = symbols
    text = text.reshape(count, ROW)
    inputs = np.concatenate([np.full((count, 1), START), np.maximum(text[:, :-1], START)], axis=1)
    targets = np.where(text == unscored, UNSCORED, text) if unscored is not None else text
    return inputs, targets, np.where(targets < 0, 0, np.append(sizes, 0)[targets]).sum(1)


def examine() -> str:
    """Try the text of ``[data] source`` for every use: what there is, in one line. SystemExit, in one line, if too little."""
    data = settings()
    ranks = gpt_text.train_merges(data["source"], VOCABULARY - 1)
    for split in gpt_text.STREAMS:
        _hidden_text(data, split, 1)
    limit = int(data["megabytes"] * 1e6)
    size = sum(len(symbols) for symbols in gpt_text.encoded(data["source"], "train", ranks, limit))
    return f"{size / 1e6:.1f} million symbols to train on, {limit >> 20} MB of text at most"


def make(split: str, seed: int, out: Path) -> None:
    """Write a split into the existing or new folder ``out``."""
    out, data = Path(out), settings()
    out.mkdir(parents=True, exist_ok=True)
    own = bool(data.get("source"))
    if split == "train":
        return _train_text(data, out) if own else _train_generated(data, seed, out)
    symbols, sizes, bits = _hidden_text(data, split, seed) if own else _hidden_generated(data, split, seed)
    inputs, targets, lengths = rows(symbols, sizes, START if own else None)
    for name, array in (("inputs", inputs), ("targets", targets), ("bytes", lengths)):
        np.save(out / f"{name}.npy", array)
    if bits is not None:
        total = int(lengths.sum())
        floor = {"bits": bits, "bytes": total, "bits_per_byte": bits / total}
        (out / "floor.json").write_text(json.dumps(floor) + "\n")
