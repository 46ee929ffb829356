"""Zip archives that say one thing of their content and hold another."""

from __future__ import annotations

import bz2
import lzma
import struct
import zlib
from functools import cache

STORED, DEFLATED, BZIP2, LZMA, XZ = 0, 8, 12, 14, 95
ENCRYPTED = 1
_LZMA = [{"id": lzma.FILTER_LZMA1, "preset": 0}]


@cache
def zeros(method: int, megabytes: int) -> bytes:
    """Zeros, compressed to a few thousand bytes, as an entry of this method holds them."""
    block, out = bytes(1 << 20), []
    if method == LZMA:
        packer = lzma.LZMACompressor(lzma.FORMAT_RAW, filters=_LZMA)
        properties = lzma._encode_filter_properties(_LZMA[0])  # type: ignore[attr-defined]
        out.append(struct.pack("<BBH", 9, 4, len(properties)) + properties)
    else:
        packer = bz2.BZ2Compressor() if method == BZIP2 else zlib.compressobj(9, zlib.DEFLATED, -15)  # type: ignore[assignment]
    out += [packer.compress(block) for _ in range(megabytes)]
    return b"".join((*out, packer.flush()))


def forged(entries: list[tuple[str, int, bytes, int]], flags: int = 0) -> bytes:
    """An archive of entries (name, method, compressed bytes, the size that is said of the content)."""
    body = directory = b""
    for name, method, content, size in entries:
        known = struct.pack("<HHHHHLLLHH", 20, flags, method, 0, 33, 0, len(content), size, len(name), 0)
        directory += b"PK\1\2" + struct.pack("<H", 20) + known + struct.pack("<HHHLL", 0, 0, 0, 0, len(body))
        directory += name.encode()
        body += b"PK\3\4" + known + name.encode() + content
    end = struct.pack("<HHHHLLH", 0, 0, len(entries), len(entries), len(directory), len(body), 0)
    return body + directory + b"PK\5\6" + end
