"""A seccomp filter for ordinary process trees: it refuses dangerous system calls that namespaces do not cover.

A coding agent's tools and a third-party build need most system calls, so this filter lists the refused ones, unlike the
filter of an experiment (`trainer.inside.seccomp`). It refuses sockets that ignore the network namespace (AF_VSOCK
reaches the hypervisor), io_uring (which opens sockets without the filter), key rings (not in a namespace), further
namespaces and mounts, input into a terminal, and the kernel's interfaces for programs and modules. bwrap loads it
(``--seccomp``) after setting no_new_privs.

Source: Documentation/userspace-api/seccomp_filter.rst of Linux. Numbers: asm/unistd_64.h, asm-generic/unistd.h.
"""

from __future__ import annotations

import errno
import struct
from typing import NamedTuple


class _MachineNumbers(NamedTuple):
    audit: int  # AUDIT_ARCH_*
    column: int  # of `_REFUSED`
    socket: int
    clone: int
    ioctl: int


_MACHINES = {
    "x86_64": _MachineNumbers(0xC000003E, 0, 41, 56, 16),
    "aarch64": _MachineNumbers(0xC00000B7, 1, 198, 220, 29),
}
#: name: (number on x86_64, on aarch64, error). ENOSYS if libraries then use another call.
_REFUSED = {
    "clone3": (435, 435, "ENOSYS"),  # its flags are in memory, which a filter cannot read; libc falls back to clone
    "io_uring_setup": (425, 425, "ENOSYS"),
    "io_uring_enter": (426, 426, "ENOSYS"),
    "io_uring_register": (427, 427, "ENOSYS"),
    "unshare": (272, 97, "EPERM"),
    "setns": (308, 268, "EPERM"),
    "mount": (165, 40, "EPERM"),
    "umount2": (166, 39, "EPERM"),
    "pivot_root": (155, 41, "EPERM"),
    "open_tree": (428, 428, "EPERM"),
    "move_mount": (429, 429, "EPERM"),
    "fsopen": (430, 430, "EPERM"),
    "fsconfig": (431, 431, "EPERM"),
    "fsmount": (432, 432, "EPERM"),
    "fspick": (433, 433, "EPERM"),
    "mount_setattr": (442, 442, "EPERM"),
    "add_key": (248, 217, "EPERM"),
    "request_key": (249, 218, "EPERM"),
    "keyctl": (250, 219, "EPERM"),
    "bpf": (321, 280, "EPERM"),
    "perf_event_open": (298, 241, "EPERM"),
    "userfaultfd": (323, 282, "EPERM"),
    "shmget": (29, 194, "ENOSYS"),  # such memory can outlive all processes
    "open_by_handle_at": (304, 265, "EPERM"),
    "init_module": (175, 105, "EPERM"),
    "finit_module": (313, 273, "EPERM"),
    "delete_module": (176, 106, "EPERM"),
    "kexec_load": (246, 104, "EPERM"),
    "kexec_file_load": (320, 294, "EPERM"),
    "reboot": (169, 142, "EPERM"),
    "swapon": (167, 224, "EPERM"),
    "swapoff": (168, 225, "EPERM"),
    "acct": (163, 89, "EPERM"),
    "quotactl": (179, 60, "EPERM"),
    "syslog": (103, 116, "EPERM"),
}
_FAMILIES = (1, 2, 10, 16)  # AF_UNIX, AF_INET, AF_INET6, AF_NETLINK
_NEW_NAMESPACES = 0x0002_0000 | 0x0200_0000 | 0x7C00_0000  # CLONE_NEW*: mount, cgroup, uts to net
_TERMINAL_INPUT = (0x5412, 0x541C)  # TIOCSTI, TIOCLINUX
_X32 = 0x4000_0000

_LOAD, _RETURN, _EQUAL, _AT_LEAST, _ANY_BIT = 0x20, 0x06, 0x15, 0x35, 0x45  # linux/bpf_common.h
_ALLOW, _ERRNO, _KILL = 0x7FFF_0000, 0x0005_0000, 0x8000_0000  # linux/seccomp.h
_NUMBER, _AUDIT, _ARGUMENTS = 0, 4, 16  # offsets in struct seccomp_data


def _op(code: int, value: int, yes: int = 0, no: int = 0) -> bytes:
    """struct sock_filter: code, instructions to skip if the test is true and if it is false, value."""
    return struct.pack("<HBBI", code, yes, no, value)


def _fail(name: str) -> bytes:
    return _op(_RETURN, _ERRNO | int(getattr(errno, name)))


def _block(number: int, body: bytes) -> bytes:
    """Run the body, which always returns, for one call; skip it for the others."""
    return _op(_EQUAL, number, 0, len(body) // 8) + body


def program(machine: str) -> bytes | None:
    """struct sock_filter[] for bwrap's ``--seccomp``; None for an unknown machine."""
    here = _MACHINES.get(machine)
    if here is None:
        return None
    code = _op(_LOAD, _AUDIT) + _op(_EQUAL, here.audit, 1, 0) + _op(_RETURN, _KILL)  # other machines' numbers
    code += _op(_LOAD, _NUMBER)
    if machine == "x86_64":
        code += _op(_AT_LEAST, _X32, 0, 1) + _op(_RETURN, _KILL)
    for row in _REFUSED.values():
        code += _block(int(row[here.column]), _fail(str(row[2])))
    allow = _op(_RETURN, _ALLOW)
    families = _op(_LOAD, _ARGUMENTS)
    for index, family in enumerate(_FAMILIES):
        families += _op(_EQUAL, family, len(_FAMILIES) - index, 0)
    code += _block(here.socket, families + _fail("EAFNOSUPPORT") + allow)
    flags = _op(_LOAD, _ARGUMENTS) + _op(_ANY_BIT, _NEW_NAMESPACES, 0, 1) + _fail("EPERM") + allow
    code += _block(here.clone, flags)
    request = _op(_LOAD, _ARGUMENTS + 8)
    for index, number in enumerate(_TERMINAL_INPUT):
        request += _op(_EQUAL, number, len(_TERMINAL_INPUT) - index, 0)
    code += _block(here.ioctl, request + allow + _fail("EPERM"))
    return code + allow
