"""Packs a folder into a single file and unpacks it: a compile cache enters and leaves a sandbox in this format.

Layout: eight bytes with the length of the head, the head (JSON: name, size, and whether it is executable, of each
file), and the contents one after the other. `os.pread` and `os.pwrite` make it independent of file positions.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator

_MOST_FILES, _HEAD_BYTES, _PIECE = 50_000, 16 << 20, 1 << 20


def pack(folder: str, target: int, limit: int) -> int:
    """Write the regular files below ``folder`` to a descriptor; returns the size, 0 if it would exceed ``limit``.

    Links are skipped. The process that wrote the folder must have ended.
    """
    files = list(_walk(folder))
    head = json.dumps([[name, size, run] for name, size, run in files]).encode()
    at = 8 + len(head)
    if len(files) > _MOST_FILES or len(head) > _HEAD_BYTES or at + sum(size for _, size, _ in files) > limit:
        return 0
    os.ftruncate(target, 0)
    os.pwrite(target, len(head).to_bytes(8, "little") + head, 0)
    for name, size, _ in files:
        source = os.open(os.path.join(folder, name), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            _copy(source, 0, target, at, size)
        finally:
            os.close(source)
        at += size
    return at


def unpack(source: int, folder: str) -> int:
    """Write the files below ``folder``, which is created; returns their number. ValueError for a malformed file."""
    size = os.fstat(source).st_size
    length = int.from_bytes(os.pread(source, 8, 0), "little")
    if not 0 < length <= min(_HEAD_BYTES, size):
        raise ValueError("not a packed folder")
    head = json.loads(os.pread(source, length, 8))
    if not isinstance(head, list) or not all(isinstance(entry, list) and len(entry) == 3 for entry in head):
        raise ValueError("the head of a packed folder is no list of files")
    at = 8 + length
    os.makedirs(folder, mode=0o700, exist_ok=True)
    for name, count, run in head:
        if not isinstance(name, str) or not _inside(name) or type(count) is not int or not 0 <= count <= size - at:
            raise ValueError("a packed folder contains a path outside it")
        path = os.path.join(folder, name)
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        target = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o700 if run else 0o600)
        try:
            _copy(source, at, target, 0, count)
        finally:
            os.close(target)
        at += count
    return len(head)


def _inside(name: str) -> bool:
    return bool(name) and not name.startswith("/") and not {"", ".", ".."} & set(name.split("/"))


def _walk(folder: str) -> Iterator[tuple[str, int, bool]]:
    """(name below the folder, bytes, executable) of each regular file, in order."""
    for parent, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            path = os.path.join(parent, name)
            form = os.lstat(path)
            if stat.S_ISREG(form.st_mode) and form.st_nlink == 1:
                yield os.path.relpath(path, folder), form.st_size, bool(form.st_mode & stat.S_IXUSR)


def _copy(source: int, start: int, target: int, at: int, count: int) -> None:
    done = 0
    while done < count:
        data = os.pread(source, min(_PIECE, count - done), start + done)
        if not data:
            raise ValueError("a packed folder is truncated")
        written = 0
        while written < len(data):
            written += os.pwrite(target, data[written:], at + done + written)
        done += len(data)
