"""Makes the splits of this task: source code of the installed standard library, or a text of one's own, as symbols.

``make("train", seed, out)`` writes ``train.npy`` (int16); any other split writes the hidden rows of the referee
(``inputs.npy``, ``targets.npy``, ``bytes.npy``). ``[data] source`` in the task.toml beside this file says whose text it
is: ``stdlib``, or the absolute path of a file or folder. How little a model could need at best is not known.
"""

from __future__ import annotations

import hashlib
import re
import sys
import tomllib
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
_beside = str(HERE)  # the modules of this task lie beside this file, wherever it is loaded from
sys.path.insert(0, _beside)
from codelm_fragments import FRAGMENTS  # noqa: E402
from codelm_symbols import NEWLINE, Alphabet, learn  # noqa: E402
from codelm_text import POOLS, documents, files, hidden, training  # noqa: E402

sys.path.remove(_beside)  # train, prepare and data are names that other tasks have too

ALPHABET = Alphabet(FRAGMENTS)
ROW = 256  # symbols in a hidden row
HIDDEN_BYTES = 48_000
UNSCORED = -1  # target of a padded place
LEARNED_BYTES = 2 << 20  # of the training text, for the fragments


def source() -> str:
    """``stdlib``, or the path of a text of one's own."""
    return str(tomllib.loads((HERE / "task.toml").read_text("utf-8"))["data"]["source"])


def version() -> str:
    """Another one where the text or this task is another; by hand, splits are kept under it."""
    listed = [(str(path), (stat := path.stat()).st_size, stat.st_mtime_ns) for path in files(source())]
    state = hashlib.sha256(repr(listed).encode())
    for path in (HERE / "task.toml", *sorted(HERE.glob("*.py"))):
        state.update(path.read_bytes() if path.name != "train.py" else b"")
    return state.hexdigest()[:12]


def rows(stream: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Inputs and targets [rows, 256], bytes of each row's targets [rows]; every symbol is a target once.

    Each row starts with a newline: the symbol before it is the last target of another row, and would give it away.
    """
    count = -(-len(stream) // ROW)
    targets = np.full(count * ROW, UNSCORED, dtype=np.int64)
    targets[: len(stream)] = stream
    targets = targets.reshape(count, ROW)
    start = np.full((count, 1), NEWLINE, dtype=np.int64)
    inputs = np.concatenate([start, np.maximum(targets[:, :-1], 0)], axis=1)
    sizes = np.where(targets < 0, 0, ALPHABET.lengths[targets])
    return inputs, targets, sizes.sum(1)


def make(split: str, seed: int, out: Path) -> None:
    """Write a split into the existing or new folder ``out``. ValueError, in one line, for a text that cannot serve."""
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    found = documents(source())
    if split == "train":
        np.save(out / "train.npy", ALPHABET.encode(b"".join(training(found))))
        return
    stream = ALPHABET.encode(hidden(found, split, seed, HIDDEN_BYTES))
    for name, array in zip(("inputs", "targets", "bytes"), rows(stream)):
        np.save(out / f"{name}.npy", array)


def examine() -> str:
    """Try the text for every use, and fit the fragments of the symbols to it: what `task init --text` asks for.

    Returns what there is, in one line. ValueError, in one line, for a text that cannot serve.
    """
    found = documents(source())
    for split in POOLS:
        hidden(found, split, 1, HIDDEN_BYTES)
    chosen = training(found)
    size = sum(map(len, chosen))
    sample = b"".join(chosen[:: max(1, size // LEARNED_BYTES)])[:LEARNED_BYTES]
    fragments = fitted(sample)
    each = len(sample) / len(Alphabet(fragments).encode(sample))
    keep(fragments, each)
    return f"{size / 1e6:.1f} MB to train on, of {len(found)} documents, {each:.2f} bytes a symbol"


def fitted(text: bytes) -> list[bytes]:
    """As many fragments as there were; where the text repeats too little, some that no text has."""
    return [*learn(text, len(FRAGMENTS)), *(bytes([255, byte]) for byte in range(256))][: len(FRAGMENTS)]


def keep(fragments: list[bytes], bytes_per_symbol: float) -> None:
    """Write the fragments as the table beside this file, and what a symbol holds then into prepare.py."""
    lines = "".join(f"    {fragment!r},\n" for fragment in fragments)
    head = '"""Frequent fragments of the training text, by `learn` of codelm_symbols.py; part of the task."""\n\n'
    (HERE / "codelm_fragments.py").write_text(f"{head}FRAGMENTS = (\n{lines})\n", "utf-8")
    prepare = (HERE / "prepare.py").read_text("utf-8")
    prepare = re.sub(r"(?m)^BYTES_PER_SYMBOL = [0-9.]+", f"BYTES_PER_SYMBOL = {bytes_per_symbol:.3f}", prepare)
    (HERE / "prepare.py").write_text(prepare, "utf-8")


__all__ = ["ALPHABET", "documents", "examine", "hidden", "make", "rows", "source", "training", "version"]
