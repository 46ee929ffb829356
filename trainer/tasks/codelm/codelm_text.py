"""Where the text comes from, and which of it is hidden: files, then documents, then a pool for each use.

A document is a file; one of the user's own that is long is cut at line ends. Documents with the same bytes are one.
They are ordered by the hash of their bytes and dealt out: one in twenty to each hidden pool, the rest is for training.
A hidden passage that stands in a training document too is left out, so no row can be known by heart.
"""

from __future__ import annotations

import hashlib
import os
import sysconfig
from collections.abc import Iterator
from pathlib import Path

POOLS = ("search", "selection", "confirmation", "reserve")
EVERY = 20  # documents are dealt to so many hands, one of which is each hidden pool's
LEAST_BYTES = 256 << 10  # of a text of one's own
MOST_BYTES = 64 << 20  # of it that are read, files in the order of their names' hashes
TRAIN_BYTES = 12_000_000
PASSAGE = 128  # bytes of whole lines that may not stand on both sides
PIECE = 4096  # bytes of a hidden document that are drawn at once
LEFT_OUT = {  # of the standard library: tables, generated or bundled text, and what not every installation has
    "site-packages", "dist-packages", "test", "tests", "__pycache__", "idlelib", "encodings", "pydoc_data", "lib2to3",
    "distutils", "turtledemo", "ensurepip", "__phello__", "entities.py",
}  # fmt: skip


def stdlib_files() -> list[Path]:
    """The .py files of the interpreter's standard library, in the order of their paths."""
    top, found = Path(sysconfig.get_path("stdlib")), []
    for folder, names, files in os.walk(top):
        names[:] = [name for name in names if name not in LEFT_OUT and not name.startswith("config-")]
        names_here = [name for name in files if name.endswith(".py") and not name.startswith("_sysconfig")]
        found += [Path(folder, name) for name in names_here if name not in LEFT_OUT]
    return sorted((path for path in found if not path.is_symlink()), key=lambda path: path.relative_to(top).parts)


def own_files(source: Path) -> list[Path]:
    """The file, or all files below the folder but hidden ones. ValueError for what is no text of this folder's own."""
    if not source.exists():
        raise ValueError(f"{source}: no such file or folder; correct [data] source")
    if source.is_file():
        return [source]
    found: list[Path] = []
    for folder, names, files in os.walk(source, onerror=_unreadable):
        names[:] = [name for name in names if not name.startswith(".")]
        paths = [Path(folder, name) for name in (*names, *files) if not name.startswith(".")]
        for path in paths:
            if path.is_symlink() and not path.resolve().is_relative_to(source):
                raise ValueError(f"{path}: a link that leaves the folder; copy what it leads to, or remove it")
        found += [path for path in paths if path.is_file() and not path.is_symlink()]
    return sorted(found, key=lambda path: path.relative_to(source).parts)


def files(source: str) -> list[Path]:
    """All files of a source: ``stdlib``, or a path."""
    return stdlib_files() if source == "stdlib" else own_files(Path(source))


def _unreadable(error: OSError) -> None:
    raise ValueError(f"{error.filename}: {error.strerror}; make it readable, or take it out of the folder")


def _text(path: Path) -> bytes:
    try:
        raw = path.read_bytes()
        raw.decode("utf-8")
    except OSError as error:
        _unreadable(error)
    except UnicodeDecodeError as error:
        place = f"byte {error.start}"
        raise ValueError(f"{path}: no UTF-8 text ({place}); save it as UTF-8, or take it out of the folder") from None
    if b"\0" in raw:
        raise ValueError(f"{path}: binary, it holds a zero byte; take it out of the folder")
    return raw


def documents(source: str) -> list[bytes]:
    """Different documents in the order of their hashes, each with a line end at its end. ValueError, with its cure."""
    if source == "stdlib":
        texts = [raw for path in stdlib_files() if (raw := path.read_bytes()) and _is_utf8(raw)]
        if len(texts) < EVERY:
            raise ValueError("this Python has no standard library in files; use one that has")
    else:
        texts = _own_documents(Path(source))
    unique = {hashlib.sha256(text).digest(): text for text in (_ended(text) for text in texts)}
    return [unique[digest] for digest in sorted(unique)]


def _is_utf8(raw: bytes) -> bool:
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _ended(text: bytes) -> bytes:
    return text if text.endswith(b"\n") else text + b"\n"


def _own_documents(source: Path) -> list[bytes]:
    texts, size = [], 0
    for path in sorted(own_files(source), key=lambda path: _shuffled(str(path.relative_to(source)))):
        if size < MOST_BYTES:
            texts.append(_text(path)[: MOST_BYTES - size])
            size += len(texts[-1])
    if size < LEAST_BYTES:
        raise ValueError(f"{source}: {size >> 10} KB of text, {LEAST_BYTES >> 10} KB are needed; add more of its kind")
    length = min(32 << 10, max(2 << 10, size // 512))
    return [part for text in texts for part in cut(text, length)]


def _shuffled(name: str) -> bytes:
    return hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()


def cut(text: bytes, length: int) -> list[bytes]:
    """Stretches of whole lines of about ``length`` bytes; a line longer than that is cut too."""
    parts: list[bytes] = []
    held = b""
    for line in text.splitlines(keepends=True):
        for start in range(0, len(line), length):
            piece = line[start : start + length]
            if held and len(held) + len(piece) > length:
                parts.append(held)
                held = b""
            held += piece
    return [*parts, held] if held else parts


def training(documents: list[bytes]) -> list[bytes]:
    """The training documents, in an order that has nothing to do with their places, up to TRAIN_BYTES."""
    chosen, size = [], 0
    for rank, text in enumerate(documents):
        if rank % EVERY >= len(POOLS) and size < TRAIN_BYTES:
            chosen.append(text)
            size += len(text)
    return chosen


def hidden(documents: list[bytes], split: str, seed: int, size: int) -> bytes:
    """Pieces of the split's own pool, drawn by the seed, without what the training documents hold as well.

    A split that is none of the four (`validation`, by hand) draws from the pool of `search`. ValueError if too little.
    """
    number = POOLS.index(split) if split in POOLS else 0
    known = {passage for text in training(documents) for _, _, passage in passages(text.splitlines(keepends=True))}
    pieces: list[tuple[bytes, bytes]] = []
    for text in documents[number::EVERY]:
        for piece in cut(b"".join(fresh(text.splitlines(keepends=True), known)), PIECE):
            pieces.append((hashlib.sha256(f"{split} {seed} ".encode() + piece).digest(), piece))
    parts, total = [], 0
    for _, piece in sorted(pieces):
        if total < size:
            parts.append(_ended(piece))
            total += len(parts[-1])
    if total < PIECE:
        raise ValueError(f"{total} bytes of the {split} pool stand in no training document; the text repeats itself")
    return b"".join(parts)


def passages(lines: list[bytes]) -> Iterator[tuple[int, int, int]]:
    """For each line the shortest run of lines from it that holds PASSAGE bytes: first, behind the last, hash."""
    last, size = 0, 0
    for first in range(len(lines)):
        while last < len(lines) and size < PASSAGE:
            size += len(lines[last])
            last += 1
        if size < PASSAGE:
            return
        yield first, last, hash(b"".join(lines[first:last]))
        size -= len(lines[first])


def fresh(lines: list[bytes], known: set[int]) -> list[bytes]:
    """The lines that stand in no known passage."""
    stale: set[int] = set()
    for first, last, passage in passages(lines):
        if passage in known:
            stale.update(range(first, last))
    return [line for number, line in enumerate(lines) if number not in stale]
