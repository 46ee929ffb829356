"""``[data] source``: the text that a task is made of. Its bytes belong to the task's identity, its hash to the ledger.

Hashing reads everything; so the hash is kept in the user's cache under the paths, sizes and times of change of all
files, and a text that nobody has touched is only listed. What a task's data.py takes of these files is its own matter.
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
from trainer.places import user_cache

STDLIB = "stdlib"
_ELSEWHERE = {"site-packages", "dist-packages", "test", "tests", "__pycache__"}  # no part of every installation
_SHOWN = ("/usr", "/bin", "/lib", "/lib64", "/nix/store")  # to everything that runs in a sandbox
_KNOWN = re.compile(r"x[0-9a-f]{12}")


class _File(NamedTuple):
    name: str  # below the source, with slashes
    path: str
    size: int
    changed: int  # ns


def text_hash(source: str) -> str:
    """``x`` and 12 hex digits over names and bytes of the source's files: ``stdlib``, or the path of a file or folder.

    OSError where a file cannot be read, or there is none at all.
    """
    files = _listing(source)
    key = hashlib.sha256(repr(files).encode("utf-8", "surrogateescape")).hexdigest()
    try:
        kept = user_cache() / "texts" / key
        known = kept.read_text("ascii")
        if _KNOWN.fullmatch(known):
            return known
    except EnvironmentProblem:
        return _hash(files)  # there is no place to keep it
    except (OSError, ValueError):
        pass
    digest = _hash(files)
    with suppress(OSError):  # it is only slower without
        kept.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=kept.parent, delete=False) as file:
            file.write(digest)
        os.replace(file.name, kept)
    return digest


def at_hand(source: str) -> bool:
    """Whether whatever runs in a sandbox can read this text: the system and the interpreter are shown there."""
    shown = (*_SHOWN, sys.prefix, sys.base_prefix)
    return source == STDLIB or any(Path(source).resolve().is_relative_to(Path(one).resolve()) for one in shown)


def _listing(source: str) -> list[_File]:
    """Of a folder every file but hidden ones, of the standard library the .py files; links are no files."""
    top = sysconfig.get_path("stdlib") if source == STDLIB else source
    if os.path.isfile(top):
        return [_file("", top)]
    files, waiting = [], [(top, "")]
    while waiting:
        folder, above = waiting.pop()
        with os.scandir(folder) as entries:
            for entry in entries:
                name = above + entry.name
                if entry.name.startswith(".") or entry.is_symlink() or (source == STDLIB and entry.name in _ELSEWHERE):
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
