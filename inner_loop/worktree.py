"""A folder that an untrusted program may write: given to its uid, taken back, measured, and read as data.

Nothing that an agent leaves behind is executed. Git is never run in it from outside, because `.git/config`, hooks,
attributes and nested repositories can start programs. `read_file` reads one of its files.
"""

from __future__ import annotations

import os
import stat
from collections import Counter
from pathlib import Path

from programs.common.errors import EnvironmentProblem, UsageError
from programs.common.files import TooMuch, entries


def check(worktree: Path) -> Path:
    """The real path of a folder that can be given to another uid. UsageError if its files also exist elsewhere."""
    real = worktree.resolve()
    if not real.is_dir() or len(real.parts) < 3:
        raise UsageError(f"{worktree} is not a usable folder", hint="name a folder made for the agent alone")
    if (real / ".git").is_file():
        raise UsageError(
            f"{worktree} is a linked git worktree: its repository is outside, where the agent cannot read it",
            hint="use git clone --no-hardlinks",
        )
    try:
        _check_links(real)
    except TooMuch as error:
        raise UsageError(
            f"{worktree}: {error}", hint="an agent's worktree contains the sources and little else"
        ) from None
    return real


def _check_links(root: Path) -> None:
    """Through a file with a second name outside the folder, that outside file could be changed."""
    seen: Counter[tuple[int, int]] = Counter()
    names: dict[tuple[int, int], tuple[int, str]] = {}
    for path, status in entries(root):
        if status.st_nlink > 1 and not stat.S_ISDIR(status.st_mode):
            seen[key := (status.st_dev, status.st_ino)] += 1
            names[key] = status.st_nlink, path
    for key, (links, path) in names.items():
        if links > seen[key]:
            raise UsageError(f"{path} is also linked from outside of {root}", hint="git clone --no-hardlinks, or cp -r")


def size_mb(root: Path) -> float:
    """MiB that a folder uses on disk. TooMuch as `entries`."""
    blocks: dict[tuple[int, int], int] = {}
    for _, status in entries(root):
        blocks[status.st_dev, status.st_ino] = status.st_blocks
    return sum(blocks.values()) * 512 / (1 << 20)


def give(root: Path, uid: int) -> None:
    """As root, give a folder with all its content to an unprivileged uid and gid. No other process may use it."""
    try:
        os.chown(root, uid, uid)
        for path, _ in entries(root):
            os.chown(path, uid, uid, follow_symlinks=False)
    except (OSError, TooMuch) as error:
        raise EnvironmentProblem(f"{root}: cannot be given to uid {uid}: {error}", hint="run as a user") from None


def take_back(root: Path, uid: int, gid: int) -> bool:
    """Own it again after the end; set-user-id bits are removed. False if something in it could not be reached."""
    try:
        os.chown(root, uid, gid)
        for path, status in entries(root):
            if not stat.S_ISLNK(status.st_mode) and status.st_mode & (stat.S_ISUID | stat.S_ISGID):
                os.chmod(path, stat.S_IMODE(status.st_mode) & 0o1777)
            os.chown(path, uid, gid, follow_symlinks=False)
    except (OSError, TooMuch):
        return False
    return True


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
