"""A folder of this machine that a job in a sandbox may write: checked, given to its uid, taken back, and measured."""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from programs.common.errors import EnvironmentProblem, UsageError
from programs.common.files import TooMuch, entries
from trainer.jobs.job import ProcessesLeft


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


@contextmanager
def handed_over(root: Path, uid: int | None, sockets: Iterable[Path]) -> Iterator[None]:
    """As root, give a folder and sockets to the uid of a job until its end. The folder is not taken back if processes
    of the job are left, because they still write it. ``uid``: `bwrap.dropped_uid`, None: nothing is given."""
    if uid is None:
        yield
        return
    status = root.stat()
    is_abandoned = status.st_uid == uid  # by a killed process of ours
    owner = (os.geteuid(), os.getegid()) if is_abandoned else (status.st_uid, status.st_gid)
    is_left = False
    try:
        give(root, uid)
        for path in sockets:
            os.chown(path, uid, -1)
        yield
    except ProcessesLeft:
        is_left = True
        raise
    finally:
        if not is_left:
            take_back(root, *owner)


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
