"""The files that experiments see: copies in memory, made once by the template.

Files of a disk show a later experiment which of their pages and names an earlier one asked for. Copies in memory have
all pages at all times, and the kernel remembers no names that they lack. Libraries that the template has mapped need no
path; all their pages are mapped from its start on, so that none shows whether it was used.
"""

from __future__ import annotations

import mmap
import os
import sys
from collections.abc import Iterable, Iterator

_LEFT_OUT = {"bin", "ensurepip", "idlelib", "include", "lib2to3", "share", "test", "tests", "tkinter", "turtledemo"}
_OTHERS = {"dist-packages", "site-packages"}  # below the standard library
_NOT_IMPORTED = (".a", ".cuh", ".h", ".hpp", ".o", ".pyi")
_CACHED = f".{sys.implementation.cache_tag}.pyc"
_KEPT: list[mmap.mmap] = []


def keep(folder: str) -> None:
    """Map all files of a folder for good, in this process and no fork of it."""
    for inner, _, names in os.walk(folder):
        for name in names:
            with open(os.path.join(inner, name), "rb") as file:
                if os.fstat(file.fileno()).st_size:
                    kept = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
                    kept.madvise(mmap.MADV_DONTFORK)
                    _KEPT.append(kept)


def copy(paths: Iterable[str], root: str) -> None:
    """Copy files, and what can be imported from folders, to the same paths below ``root``."""
    folders = set[str]()
    for path in _files(paths):
        try:
            source = os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            continue  # a link to a folder that is not shown
        folder = os.path.dirname(path)
        if folder not in folders:
            os.makedirs(root + folder, exist_ok=True)
            folders.add(folder)
        target = os.open(root + path, os.O_WRONLY | os.O_CREAT, 0o444)
        status = os.fstat(source)
        while os.sendfile(target, source, None, 1 << 30):
            pass
        os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))  # by which Python finds a compiled file valid
        os.close(source)
        os.close(target)


def _files(paths: Iterable[str]) -> Iterator[str]:
    for path in paths:
        if os.path.isfile(path):
            yield path
            continue
        for folder, names, files in os.walk(path):
            left_out = _LEFT_OUT | _OTHERS if folder == path else _LEFT_OUT
            names[:] = [name for name in names if name not in left_out and not name.startswith("config-")]
            for name in files:
                linked = name.startswith("lib") and ".so" in name and folder.endswith("/lib")  # torch's, which it maps
                if not linked and (name.endswith(_CACHED) or not name.endswith((*_NOT_IMPORTED, ".pyc"))):
                    yield os.path.join(folder, name)
