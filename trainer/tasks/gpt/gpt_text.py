"""The user's own text: read from a folder, cut into pieces, parted into splits, tokenised by a byte-level BPE.

Trusted side only. Files come in the order of a hash of their names, so that the start of them is a fair sample of all.
A piece belongs to one split by the hash of its own text: what stands twice is never in two splits.
"""

from __future__ import annotations

import hashlib
import os
import sysconfig
from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import tiktoken

SUFFIXES = frozenset(
    ".txt .md .rst .tex .org .csv .json .jsonl .html .xml .py .c .h .cc .cpp .hpp .rs .go .java .js .ts .sh .sql .lua "
    ".rb .jl .r .hs .ml .scala .kt .swift .php .pl .toml .yaml .yml .parquet".split()
)
_ELSEWHERE = frozenset(("site-packages", "dist-packages", "test", "tests", "__pycache__"))  # not in every installation
PIECE = 4096  # characters
PARTS, STREAMS = 32, ("search", "selection", "confirmation", "reserve")  # a 32nd of all pieces for each stream
SAMPLE, SHARE = 1_500_000, 100_000  # characters that merges are trained on, and of one file at most
PATTERN = r" ?\p{L}{1,24}| ?\p{N}{1,3}| ?[^\s\p{L}\p{N}]{1,8}|\s{1,16}"


def _files(source: str) -> list[Path]:
    """The files with text below a folder (or the one file that is named), in the order of a hash of their names.

    No links and nothing hidden: a task's identity knows nothing of them.
    """
    top = Path(sysconfig.get_path("stdlib") if source == "stdlib" else source)
    if not top.exists():
        raise SystemExit(f"{top}: no such folder; correct [data] source in task.toml")
    suffixes, left = ({".py"}, _ELSEWHERE) if source == "stdlib" else (SUFFIXES, frozenset())
    found = [top] if top.is_file() else []
    for folder, folders, names in os.walk(top):
        folders[:] = [name for name in folders if name[0] != "." and name not in left]
        paths = (Path(folder, name) for name in names if name[0] != ".")
        found += [path for path in paths if path.suffix.lower() in suffixes and not path.is_symlink()]
    if not found:
        raise SystemExit(f"{top}: no text there; [data] source wants .txt, .md, source code or .parquet")
    return sorted(found, key=lambda path: _hash(path.relative_to(top).as_posix()))


def _hash(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()


def _documents(path: Path) -> Iterator[str]:
    if path.suffix.lower() == ".parquet":
        yield from _parquet(path)
        return
    try:
        yield path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        line = path.read_bytes().count(b"\n", 0, error.start) + 1
        raise SystemExit(f"{path}:{line}: not UTF-8 (byte {error.start}); convert the file or take it away") from None


def _parquet(path: Path) -> Iterator[str]:
    import duckdb

    with duckdb.connect() as connection:
        try:
            rows = connection.execute("SELECT text FROM read_parquet($1)", [str(path)])
        except duckdb.Error as error:
            why = str(error).splitlines()[0]
            raise SystemExit(f"{path}: no column `text` can be read: {why}") from None
        while batch := rows.fetchmany(1000):
            yield from (str(text) for (text,) in batch if text)


def _cut(text: str) -> Iterator[str]:
    """Pieces of at most 4,096 characters, at line ends where there are any."""
    start = 0
    while start < len(text):
        end = text.rfind("\n", start + PIECE // 2, start + PIECE) + 1 if len(text) - start > PIECE else len(text)
        end = end or start + PIECE
        yield text[start:end]
        start = end


def pieces(source: str, split: str, share: int = 0) -> Iterator[str]:
    """The pieces of a split, ``train`` or a stream; of each file ``share`` characters at most, where that is given."""
    for path in _files(source):
        taken = 0
        for document in _documents(path):
            for piece in _cut(document):
                part = _hash(piece)[0] % PARTS
                if split == (STREAMS[part] if part < len(STREAMS) else "train") and piece.strip():
                    yield piece
                    taken += len(piece)
            if share and taken > share:
                break


def train_merges(source: str, symbols: int) -> list[bytes]:
    """``symbols`` byte strings by rank: 256 bytes, then the pairs that were merged. Source: Sennrich et al. (2016)."""
    import regex

    words: Counter[str] = Counter()
    size = 0
    for piece in pieces(source, "train", SHARE):
        words.update(regex.findall(PATTERN, piece))
        size += len(piece)
        if size > SAMPLE:
            break
    parts = [[bytes([b]) for b in word.encode("utf-8", "replace")] for word in words]
    ranks = [bytes([b]) for b in range(256)]
    pairs = _Pairs(parts, list(words.values()))
    while len(ranks) < symbols and (best := pairs.best()):
        merged = best[0] + best[1]
        if merged not in pairs.made:
            ranks.append(merged)
        pairs.merge(best, merged)
    filler = (bytes([255, number >> 8, number & 255]) for number in range(symbols))  # never in UTF-8
    return ranks + [next(filler) for _ in range(symbols - len(ranks))]


class _Pairs:
    """Counts of neighbouring parts over all words, kept up to date while parts are merged."""

    def __init__(self, parts: list[list[bytes]], counts: list[int]) -> None:
        self.parts, self.counts = parts, counts
        self.count: Counter[tuple[bytes, bytes]] = Counter()
        self.where: dict[tuple[bytes, bytes], set[int]] = defaultdict(set)
        self.made: set[bytes] = set()
        for number in range(len(parts)):
            self._add(number, 1)

    def _add(self, number: int, sign: int) -> None:
        for pair in pairwise(self.parts[number]):
            self.count[pair] += sign * self.counts[number]
            self.where[pair].add(number)

    def best(self) -> tuple[bytes, bytes] | None:
        """The most frequent pair; of equals the first in order; None where nothing stands twice."""
        pair = max(self.count, key=lambda p: (self.count[p], p), default=None)
        return pair if pair and self.count[pair] > 1 else None

    def merge(self, pair: tuple[bytes, bytes], merged: bytes) -> None:
        self.made.add(merged)
        for number in self.where.pop(pair):
            self._add(number, -1)
            old, new = self.parts[number], []
            for part in old:
                if new and (new[-1], part) == pair:
                    new[-1] = merged
                else:
                    new.append(part)
            self.parts[number] = new
            self._add(number, 1)
        self.count = +self.count  # what is gone need not be looked at


def encoder(ranks: list[bytes]) -> tiktoken.Encoding:
    import tiktoken

    return tiktoken.Encoding(
        "gpt", pat_str=PATTERN, mergeable_ranks={symbol: rank for rank, symbol in enumerate(ranks)}, special_tokens={}
    )


def encoded(source: str, split: str, ranks: list[bytes], limit: int) -> Iterator[Any]:
    """Arrays of symbols, a batch of pieces each: 0 before a piece, then rank + 1; some ``limit`` characters in all."""
    import numpy as np

    encoding, threads, size = encoder(ranks), os.cpu_count() or 1, 0
    batch: list[str] = []

    def flush() -> Any:
        lists = encoding.encode_ordinary_batch(batch, num_threads=threads)
        return np.array([n for one in lists for n in (-1, *one)], dtype=np.int64) + 1

    for piece in pieces(source, split):
        batch.append(piece)
        size += len(piece)
        if len(batch) == 500:
            yield flush()
            batch = []
        if size > limit:
            break
    if batch:
        yield flush()
