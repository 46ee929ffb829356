"""Reads files that may come from someone else: regular ones only, never through a link, never more than a limit.

A pipe would block for ever, a link can lead to any file of the user, and a device never ends.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO

from programs.errors import Corrupt


def open_regular(path: Path) -> BinaryIO:
    """The open file. Raises OSError if it cannot be opened, or is a link; Corrupt if it is no regular file."""
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise Corrupt(f"{path}: not a regular file", hint="remove it, or restore it from a copy")
    return os.fdopen(handle, "rb")


def read_regular(path: Path, most: int) -> bytes:
    """The content of a regular file of at most ``most`` bytes. Raises OSError, or Corrupt."""
    with open_regular(path) as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise Corrupt(f"{path}: larger than {most:,} bytes", hint="restore it from a copy")
    return data
