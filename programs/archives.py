"""Reads zip archives that may come from someone else, with a limit on what comes out of them.

Python bounds the decompression of deflate only: 2,000 bytes of bzip2 or LZMA can become gigabytes. So other methods are
refused.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile, ZipInfo

_CHUNK = 1 << 16


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
