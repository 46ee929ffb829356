"""Reads a file of a folder that an untrusted program may write, as data.

Nothing that an agent leaves behind is executed. Git is never run in it from outside, because `.git/config`, hooks,
attributes and nested repositories can start programs.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from programs.common.errors import UsageError


def read_file(root: Path, name: str, limit: int) -> bytes:
    """A regular file of at most ``limit`` bytes, reached without symbolic links. UsageError for anything else.

    It is opened component by component, so it is safe while the agent runs; a FIFO or a device does not block.
    """
    parts = name.split("/")
    if not name or name.startswith("/") or any(part in ("", ".", "..") for part in parts) or "\0" in name:
        raise UsageError(f"{name!r} is not a file of the worktree")
    folder = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for part in parts[:-1]:
            inner = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
            os.close(folder)
            folder = inner
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
        with open(os.open(parts[-1], flags, dir_fd=folder), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise UsageError(f"{name} is not a regular file")
            data = file.read(limit + 1)
    except OSError as error:
        raise UsageError(f"{name}: {error.strerror} (symbolic links are not followed)") from None
    finally:
        os.close(folder)
    if len(data) > limit:
        raise UsageError(f"{name} has more than {limit} bytes")
    return data
