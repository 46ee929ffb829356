"""Reads the lines of a file: regular files only, no binary data, at most MAX_BYTES."""

from __future__ import annotations

import codecs
import os
import re
import stat
from pathlib import Path

MAX_BYTES = 64 << 20
MAX_LINES = 500_000  # of one log; some 1.3 KiB of memory each
_BOMS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
_LFS = b"version https://git-lfs.github.com/spec/"


class UnreadableLog(Exception):
    """A file that cannot be read, with the reason in a few words."""


_LOG = re.compile(
    r"(?:.*[-_.])?(?:results?|experiments?|exps?|history|journal|trials?|runs?|log|ledger|autoresearch)(?:[-_.].*)?\.(?:tsv|jsonl)"
    r"|(?:results?|experiments?)(?:[-_.].*)?\.(?:csv|txt|md)",
    re.IGNORECASE,
)


def is_log(name: str) -> bool:
    """Whether a folder search reads files of this name."""
    return _LOG.fullmatch(name) is not None


def read_bytes(path: Path, limit: int = MAX_BYTES) -> bytes:
    """The bytes of a regular file. Raises UnreadableLog for folders, pipes, devices, and files over ``limit``."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            os.close(handle)
            raise UnreadableLog("not a regular file")
        with open(handle, "rb") as file:
            data = file.read(limit + 1)
    except OSError as error:
        raise UnreadableLog(error.strerror or "cannot be read") from None
    if len(data) > limit:
        raise UnreadableLog(f"larger than {limit >> 20} MiB")
    return data


def decode(data: bytes) -> str:
    """The text of a log: UTF-8, or UTF-16 with BOM; invalid bytes are replaced. Raises UnreadableLog if binary."""
    if data.startswith(_LFS):
        raise UnreadableLog("a Git LFS pointer: the file itself is not here")
    for mark, encoding in _BOMS:
        if data.startswith(mark):
            return data[len(mark) :].decode(encoding, "replace")
    if b"\0" in data:
        raise UnreadableLog("binary data")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        text = data.decode("utf-8", "replace")
    if text.count("\ufffd") > 0.05 * len(text) + 2:
        raise UnreadableLog("binary data, or text that is not UTF-8")
    return text


def lines(text: str) -> list[str]:
    """Lines without line ends. A lone carriage return counts only if there is no other line end (old Macs)."""
    if "\r" in text:
        text = text.replace("\r\n", "\n")
        text = text if "\n" in text else text.replace("\r", "\n")
    if text.count("\n") >= MAX_LINES:
        raise UnreadableLog(f"more than {MAX_LINES:,} lines")
    split = text.split("\n")
    return split[:-1] if split and not split[-1] else split
