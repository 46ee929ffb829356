"""Transfers a run's folder from a node: packed within limits, and unpacked as untrusted data.

A git object must match its hash, and a branch must name a commit. Configuration, hooks and everything else in the
repository are created by the driver. Nothing is written outside the run's folder.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from inner_loop.repository import lay_out
from programs.errors import EnvironmentProblem

MOST_BYTES, MOST_FILES = 64 << 20, 20_000
MOST_OBJECT = 32 << 20  # bytes of a git object, unpacked
_OBJECT = re.compile(r"\.git/objects/([0-9a-f]{2})/([0-9a-f]{38})")
_BRANCH = re.compile(r"\.git/refs/heads/(main|kept-[0-9]{4,8})")
# most valuable first, in case not everything fits
_KINDS = (
    _OBJECT,
    _BRANCH,
    re.compile(r"results\.tsv"),
    re.compile(r"diffs/[0-9]{4,8}\.diff"),
    re.compile(r"logs/[0-9]{4,8}\.log"),
    re.compile(r"agent(/[A-Za-z0-9_-][A-Za-z0-9._-]{0,120}){1,6}"),
)

Packed = list[tuple[str, bytes]]


class Unsafe(Exception):
    """The received data are not the folder of a run."""


def pack(folder: Path) -> Packed:
    """The files of a run's folder to send; above the limits, files of agents and logs are left out first."""
    names = sorted(_names(folder), key=lambda name: (_kind(name), name))
    packed: Packed = []
    left = MOST_BYTES
    for name in names[:MOST_FILES]:
        content = (folder / name).read_bytes()
        left -= len(content)
        if left < 0:
            break
        packed.append((name, content))
    return packed


def _names(folder: Path) -> Iterator[str]:
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            name = path.relative_to(folder).as_posix()
            if _kind(name) < len(_KINDS):
                yield name


def _kind(name: str) -> int:
    return next((i for i, kind in enumerate(_KINDS) if kind.fullmatch(name)), len(_KINDS))


def unpack(packed: Sequence[tuple[str, bytes]], folder: Path) -> None:
    """Replace ``folder`` by the packed files. Raises Unsafe, and then leaves the folder unchanged."""
    check(packed)
    fresh = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(fresh, ignore_errors=True)
    try:
        _build(packed, fresh)
        shutil.rmtree(folder, ignore_errors=True)
        fresh.rename(folder)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def lay(packed: Sequence[tuple[str, bytes]], folder: Path) -> None:
    """Write the driver's copy of a run's folder where a worker resumes the run."""
    check(packed)
    for name, content in packed:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.write_bytes(content)


def check(packed: Sequence[tuple[str, bytes]]) -> None:
    """Raise Unsafe unless every name is allowed, every object matches its hash, and the total is within limits."""
    if len(packed) > MOST_FILES or len({name for name, _ in packed}) != len(packed):
        raise Unsafe(f"{len(packed)} files, or a duplicate")
    if sum(len(content) for _, content in packed) > MOST_BYTES:
        raise Unsafe(f"more than {MOST_BYTES >> 20} MB")
    for name, content in packed:
        if not isinstance(name, str) or not isinstance(content, bytes) or _kind(name) == len(_KINDS):
            raise Unsafe(f"{name!r} is not a file of a run")
        if (named := _OBJECT.fullmatch(name)) and _sha1(content) != "".join(named.groups()):
            raise Unsafe(f"{name} does not match its hash")
        if _BRANCH.fullmatch(name) and not re.fullmatch(rb"[0-9a-f]{40}\n", content):
            raise Unsafe(f"{name} names no commit")


def _sha1(content: bytes) -> str:
    """The hash of a loose object; empty if it is not one."""
    unpacker = zlib.decompressobj()
    try:
        whole = unpacker.decompress(content, MOST_OBJECT)
    except zlib.error:
        return ""
    done = unpacker.eof and not unpacker.unused_data
    return hashlib.sha1(whole, usedforsecurity=False).hexdigest() if done else ""


def _build(packed: Sequence[tuple[str, bytes]], folder: Path) -> None:
    from git import Git, GitError

    try:
        lay_out(folder / ".git")
        lay(packed, folder)
        if (folder / ".git" / "refs" / "heads" / "main").is_file():
            Git(folder)(c="core.symlinks=false").reset("--hard", "--quiet", "main")
    except GitError as error:
        said = " ".join(str(getattr(error, "stderr", "") or error).split())
        raise Unsafe(f"git rejects it: {said[:200]}") from error
    except OSError as error:
        hint = "free the disk or repair the folder, then run the same command again: nothing is lost"
        raise EnvironmentProblem(f"{folder}: {error.strerror}", hint=hint) from None
