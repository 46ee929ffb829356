"""Converts this process's memory to huge pages, so that forks of it are cheap.

A fork copies one page table entry per page, and an exit removes each: the 55,000 small pages of a process with torch
cost 9 CPU-ms per fork and exit, 100 huge ones 3. Needs Linux 6.1; with older kernels nothing happens.
"""

from __future__ import annotations

import ctypes

_MADV_HUGEPAGE, _MADV_COLLAPSE = 14, 25
_HUGE = 1 << 21


def collapse() -> int:
    """Convert the writable anonymous memory. Returns the number of bytes; 0 if the kernel cannot."""
    madvise = ctypes.CDLL(None).madvise
    madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    done = 0
    with open("/proc/self/maps") as file:
        regions = file.read().splitlines()
    for region in regions:
        span, permissions, _, _, inode, *name = region.split(maxsplit=5)
        if inode != "0" or not permissions.startswith("rw-p") or (name and name[0] != "[heap]"):
            continue
        start, end = (int(number, 16) for number in span.split("-"))
        start, end = -(-start // _HUGE) * _HUGE, end // _HUGE * _HUGE
        if end > start:
            madvise(start, end - start, _MADV_HUGEPAGE)
            if madvise(start, end - start, _MADV_COLLAPSE) == 0:
                done += end - start
    return done
