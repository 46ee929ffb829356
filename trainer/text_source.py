"""``[data] source``: the text of a task. Its hash is part of the task's id and is recorded in the ledger.

The hash is cached in the user's cache under the paths, sizes and change times of all files, so that an unchanged text
is only listed and not read again. The task's data.py decides which of the files to use.
"""

from __future__ import annotations

import hashlib
import os
import re
import sys
import sysconfig
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from programs.errors import EnvironmentProblem
from programs.ids import content_id
from trainer.user_files import user_cache

STDLIB = "stdlib"
_NOT_STANDARD = {"site-packages", "dist-packages", "test", "tests", "__pycache__"}  # differ between installations
_SHOWN = ("/usr", "/bin", "/lib", "/lib64", "/nix/store")  # readable in every sandbox
_KNOWN = re.compile(r"x[0-9a-f]{12}")


class _File(NamedTuple):
    name: str  # below the source, with slashes
    path: str
    size: int
    changed: int  # ns


def text_hash(source: str) -> str:
    """``x`` and 12 hex digits, a hash of names and bytes of the files of ``source``: ``stdlib``, or a path.

    OSError if a file cannot be read or there are none.
    """
    files = _listing(source)
    key = hashlib.sha256(repr(files).encode("utf-8", "surrogateescape")).hexdigest()
    try:
        kept = user_cache() / "texts" / key
        known = kept.read_text("ascii")
        if _KNOWN.fullmatch(known):
            return known
    except EnvironmentProblem:
        return _hash(files)  # there is no cache folder
    except (OSError, ValueError):
        pass
    digest = _hash(files)
    with suppress(OSError):  # the cache is optional
        kept.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=kept.parent, delete=False) as file:
            file.write(digest)
        os.replace(file.name, kept)
    return digest


def at_hand(source: str) -> bool:
    """Whether sandboxed code can read this text, because it belongs to the system or the interpreter."""
    shown = (*_SHOWN, sys.prefix, sys.base_prefix)
    return source == STDLIB or any(Path(source).resolve().is_relative_to(Path(one).resolve()) for one in shown)


def _listing(source: str) -> list[_File]:
    """All files of a folder except hidden ones, for the standard library the .py files; links are skipped."""
    top = sysconfig.get_path("stdlib") if source == STDLIB else source
    if os.path.isfile(top):
        return [_file("", top)]
    files, waiting = [], [(top, "")]
    while waiting:
        folder, above = waiting.pop()
        with os.scandir(folder) as entries:
            for entry in entries:
                name = above + entry.name
                if (
                    entry.name.startswith(".")
                    or entry.is_symlink()
                    or (source == STDLIB and entry.name in _NOT_STANDARD)
                ):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    waiting.append((entry.path, name + "/"))
                elif entry.is_file(follow_symlinks=False) and (source != STDLIB or name.endswith(".py")):
                    files.append(_file(name, entry.path))
    return sorted(files)


def _file(name: str, path: str) -> _File:
    stat = os.stat(path)
    return _File(name, path, stat.st_size, stat.st_mtime_ns)


def _hash(files: list[_File]) -> str:
    parts: list[str | bytes] = []
    for file in files:
        with open(file.path, "rb") as opened:
            digest = hashlib.file_digest(opened, "sha256").digest()
        parts += [file.name.encode("utf-8", "surrogateescape"), digest]
    return content_id("x", *parts)
