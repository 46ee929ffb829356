"""Blob: an in-memory file, with which data enters and leaves the sandbox."""

from __future__ import annotations

import fcntl
import os

from programs.common.closing import Closing


def memory_file(data: bytes | memoryview) -> int:
    """A descriptor of an anonymous file that contains ``data``, positioned at its start."""
    descriptor = os.memfd_create("metaloop", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    with open(os.dup(descriptor), "wb") as file:
        file.write(data)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


class Blob(Closing):
    """An anonymous file in memory (memfd). It has no path, so only holders of a descriptor can access it."""

    def __init__(self, data: bytes | memoryview = b"", *, size: int = 0) -> None:
        """Create a file with ``data``, or one of ``size`` zero bytes whose size cannot change."""
        self.fd = memory_file(data)
        if size:
            os.ftruncate(self.fd, size)
            fcntl.fcntl(self.fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL)

    @property
    def size(self) -> int:
        return os.fstat(self.fd).st_size

    def read(self, limit: int) -> bytes:
        """A private copy of the bytes, at most ``limit``."""
        parts, done, size = list[bytes](), 0, min(limit, self.size)
        while done < size and (part := os.pread(self.fd, size - done, done)):  # at most 2 GB at once
            parts.append(part)
            done += len(part)
        return b"".join(parts)

    def readable(self) -> int:
        """A read-only descriptor with its own file position, so that readers cannot signal each other through it."""
        return os.open(f"/proc/self/fd/{self.fd}", os.O_RDONLY | os.O_CLOEXEC)

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
