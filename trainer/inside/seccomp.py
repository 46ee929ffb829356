"""Loads a filter of system calls (`trainer.sandbox.filters`) into this process, for ever.

Source: Documentation/userspace-api/seccomp_filter.rst of Linux.
"""

from __future__ import annotations

import ctypes
import errno
import os

from trainer.inside.namespaces import check

_SYS_SECCOMP = {"x86_64": 317, "aarch64": 277}
_SET_MODE_FILTER = 1
# TSYNC: apply to all threads or none. SPEC_ALLOW: up to Linux 5.15 a filter otherwise disables speculative loads, which
# slows training and protects only this process.
_TSYNC, _SPEC_ALLOW = 1, 4
_PR_SET_NO_NEW_PRIVS = 38

_libc = ctypes.CDLL(None, use_errno=True)
_libc.prctl.argtypes = (ctypes.c_int, *[ctypes.c_ulong] * 4)
_libc.syscall.argtypes = (ctypes.c_long, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_void_p)
_libc.syscall.restype = ctypes.c_long


class _Program(ctypes.Structure):
    """struct sock_fprog"""

    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_char_p)]


def load(code: bytes) -> None:
    """Set no_new_privs and load the filter into this process and all its future threads.

    Set limits, session and capabilities before, because a candidate's filter forbids that. Raises OSError.
    """
    check(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")
    loaded = _Program(len(code) // 8, code)
    number = _SYS_SECCOMP.get(os.uname().machine, -1)
    result = _libc.syscall(number, _SET_MODE_FILTER, _TSYNC | _SPEC_ALLOW, ctypes.addressof(loaded))
    if result > 0:  # the id of a thread with its own filters
        raise OSError(errno.EBUSY, f"the filter of system calls cannot be applied to thread {result}")
    check(result, "the filter of system calls")
