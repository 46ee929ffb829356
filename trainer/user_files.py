"""The user's cache folder, and files and folders that other users of the machine cannot read."""

from __future__ import annotations

import os
from pathlib import Path

from programs.common.errors import EnvironmentProblem


def user_cache() -> Path:
    """The folder for training splits of all studies: ``$METALOOP_CACHE`` or ``~/.cache/metaloop``."""
    named = os.environ.get("METALOOP_CACHE")
    try:
        return Path(named or Path.home() / ".cache" / "metaloop").resolve()
    except RuntimeError:
        raise EnvironmentProblem("no home folder to store data in", hint="set METALOOP_CACHE=DIR") from None


def private_folder(path: Path) -> Path:
    """Create a folder and its missing parents with access for their owner only; existing ones stay unchanged."""
    for missing in reversed([path, *path.parents]):
        if not missing.is_dir():
            missing.mkdir(mode=0o700, exist_ok=True)
    return path


def studies_in(folder: Path) -> list[Path]:
    """The studies in a folder: each has a secret, from which its seeds can be computed."""
    return [mark.parent for mark in folder.glob("*/study.toml")]


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read from the start, and sync it; never through a link."""
    path.unlink(missing_ok=True)  # an interrupted start may have left one that others can read
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with open(file, "w", encoding="utf-8") as out:
        out.write(text)
        out.flush()
        os.fsync(file)
