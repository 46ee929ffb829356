"""Reads files that may come from someone else: regular ones only, no link out of a folder, never more than a limit.

A pipe would block for ever, a link can lead to any file of the user, and a device never ends. In zip archives, Python
bounds the decompression of deflate only: 2,000 bytes of bzip2 or LZMA can become gigabytes. So these are refused.
"""

from __future__ import annotations

import errno
import io
import os
import stat
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, BinaryIO
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile, ZipInfo

from programs.common.errors import Corrupt, UsageError

MOST_LINE = MOST_TEXT = 64 << 20  # bytes; the longest records hold a few files of text
_CHUNK = 1 << 16
_FILES = 200_000  # most entries of a folder


class TooMuch(Exception):
    """A folder with more, deeper or less readable content than a normal one."""


def open_regular(path: Path, folder: int | None = None) -> BinaryIO:
    """The open file, from an open ``folder`` if one is given. Raises OSError if it cannot be opened; Corrupt if it is
    a link, or no regular file."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_NOCTTY | os.O_CLOEXEC, dir_fd=folder)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise irregular(path) from None
        raise
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise irregular(path)
    return os.fdopen(handle, "rb")


def write_whole(path: Path, data: bytes) -> None:
    """Write a file atomically: a reader gets the old file or the new one, never a part."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        partial.write_bytes(data)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def irregular(path: Path) -> Corrupt:
    return Corrupt(f"{path}: not a regular file", hint="remove it, or restore it from a copy")


def is_regular(path: Path) -> bool:
    """Whether it is a file, and no link to one."""
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        return False


def lines_of(file: BinaryIO) -> Iterator[bytes]:
    """The lines of a file from where it stands. Raises Corrupt for one that is longer than MOST_LINE."""
    while line := file.readline(MOST_LINE + 1):
        if len(line) > MOST_LINE:
            raise Corrupt(f"{file.name}: a line is longer than {MOST_LINE >> 20} MB", hint="restore it from a copy")
        yield line


def read_regular(path: Path, most: int = MOST_TEXT) -> bytes:
    """The content of a regular file of at most ``most`` bytes. Raises OSError, or Corrupt."""
    with open_regular(path) as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise Corrupt(f"{path}: larger than {most:,} bytes", hint="restore it from a copy")
    return data


def read_beneath(root: Path, name: str, most: int) -> bytes:
    """The content of a regular file of at most ``most`` bytes below a folder that an untrusted program may write,
    reached without symbolic links. UsageError for anything else.

    It is opened component by component, so it is safe while the program runs; a FIFO or a device does not block.
    """
    *above, last = name.split("/")
    if any(part in ("", ".", "..") for part in (*above, last)) or "\0" in name:
        raise UsageError(f"{name!r} is not a file of the worktree")
    folder = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for part in above:
            inner = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
            os.close(folder)
            folder = inner
        with open_regular(Path(last), folder) as file:
            data = file.read(most + 1)
    except OSError as error:
        raise UsageError(f"{name}: {error.strerror} (symbolic links are not followed)") from None
    except Corrupt:
        raise UsageError(f"{name} is not a regular file") from None
    finally:
        os.close(folder)
    if len(data) > most:
        raise UsageError(f"{name} has more than {most} bytes")
    return data


def entries(root: Path) -> Iterator[tuple[str, os.stat_result]]:
    """Everything below a folder, with lstat; links are not followed. Raises TooMuch.

    A list of folders to read instead of recursion: an attacker may nest deeper than Python's stack.
    """
    waiting, count = [str(root)], 0
    while waiting:
        try:
            with os.scandir(waiting.pop()) as listing:
                for entry in listing:
                    count += 1
                    if count > _FILES:
                        raise TooMuch(f"more than {_FILES} files")
                    with suppress(FileNotFoundError):
                        yield entry.path, entry.stat(follow_symlinks=False)
                        if entry.is_dir(follow_symlinks=False):
                            waiting.append(entry.path)
        except (FileNotFoundError, NotADirectoryError):
            continue  # gone meanwhile
        except OSError as error:  # too deep, or closed to us
            raise TooMuch(f"a folder that cannot be read: {error.strerror}") from None


def read_inside(root: Path, name: str, most: int = MOST_TEXT) -> bytes:
    """The content of a regular file of at most ``most`` bytes below a folder. Raises OSError, or Corrupt, also where a
    link leads out of the folder."""
    path = Path(os.path.realpath(root / name))
    if not path.is_relative_to(os.path.realpath(root)):
        raise Corrupt(f"{root / name}: this link leads out of the folder {root}", hint="copy the file into the folder")
    return read_regular(path, most)


@contextmanager
def open_zip(file: IO[bytes]) -> Iterator[ZipFile]:
    """The archive in a file. Raises BadZipFile for everything that can be wrong with it."""
    try:
        with ZipFile(file) as archive:
            yield archive
    except (zlib.error, struct.error, NotImplementedError, RuntimeError, EOFError, ValueError) as error:
        raise BadZipFile(f"damaged, or encrypted: {error}") from None


def extract(archive: ZipFile, entry: ZipInfo, target: IO[bytes], most: int) -> int:
    """Write an entry's content; the number of bytes. Raises BadZipFile if there are more than ``most``."""
    if entry.compress_type not in (ZIP_STORED, ZIP_DEFLATED):
        raise BadZipFile(f"{entry.filename!r} is compressed by another method than deflate")
    count = 0
    with archive.open(entry) as stream:
        while chunk := stream.read(_CHUNK):
            count += len(chunk)
            if count > most:
                raise BadZipFile(f"{entry.filename!r} is larger than {most:,} bytes")
            target.write(chunk)
    return count


def read_entry(archive: ZipFile, entry: ZipInfo, most: int) -> bytes:
    """The content of an entry. Raises BadZipFile."""
    content = io.BytesIO()
    extract(archive, entry, content, most)
    return content.getvalue()
