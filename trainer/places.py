"""Where things are kept that outlive a study, and how what is secret is kept from other users of the machine."""

from __future__ import annotations

import os
from pathlib import Path

from programs.errors import EnvironmentProblem


def user_cache() -> Path:
    """Where training splits are kept between studies: ``$METALOOP_CACHE`` or ``~/.cache/metaloop``."""
    named = os.environ.get("METALOOP_CACHE")
    try:
        return Path(named or Path.home() / ".cache" / "metaloop").resolve()
    except RuntimeError:
        raise EnvironmentProblem("there is no home folder to keep data in", hint="METALOOP_CACHE=DIR") from None


def private_folder(path: Path) -> Path:
    """Make a folder, and those above it that are missing, which only their owner may enter; one that is there stays."""
    for missing in reversed([path, *path.parents]):
        if not missing.is_dir():
            missing.mkdir(mode=0o700, exist_ok=True)
    return path


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner may read, from its first byte on; through no link."""
    path.unlink(missing_ok=True)  # one of a start that was cut off may be open to others
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with open(file, "w", encoding="utf-8") as out:
        out.write(text)
