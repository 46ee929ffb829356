"""The system call filter of a sandbox with a GPU: it refuses dangerous calls that namespaces do not cover.

CUDA calls its driver with its own ioctl numbers, and torch.compile starts compilers, so the list of allowed calls
(`seccomp_table`) cannot be used, and this profile is weaker. It refuses other namespaces and mounts, sockets except
Unix sockets (an empty network namespace does not close AF_VSOCK), input into a terminal, tracing and other processes'
memory, key rings, io_uring, the kernel's settings, and evicting others' pages from memory.

Source: Documentation/userspace-api/seccomp_filter.rst of Linux. Numbers: asm/unistd_64.h, asm-generic/unistd.h.
"""

from __future__ import annotations

import functools
import os
from typing import Final

from trainer.inside import seccomp
from trainer.inside.seccomp_table import WALL

_LEFT_OPEN = ("socket", "socketpair", "execve", "execveat")  # calls of WALL that stay allowed, to start programs
#: name: (number on x86_64, on aarch64, error)
_REFUSED: Final[dict[str, tuple[int, int, str]]] = {
    "clone3": (435, 435, "ENOSYS"),  # its flags are in memory, which a filter cannot read; libc falls back to clone
    "io_uring_enter": (426, 426, "ENOSYS"), "io_uring_register": (427, 427, "ENOSYS"),
    "unshare": (272, 97, "EPERM"), "mount": (165, 40, "EPERM"), "umount2": (166, 39, "EPERM"),
    "pivot_root": (155, 41, "EPERM"), "chroot": (161, 51, "EPERM"), "open_tree": (428, 428, "EPERM"),
    "move_mount": (429, 429, "EPERM"), "fsopen": (430, 430, "EPERM"), "fsconfig": (431, 431, "EPERM"),
    "fsmount": (432, 432, "EPERM"), "fspick": (433, 433, "EPERM"), "mount_setattr": (442, 442, "EPERM"),
    "shmget": (29, 194, "ENOSYS"), "swapoff": (168, 225, "EPERM"), "sethostname": (170, 161, "EPERM"),
    "mknodat": (259, 33, "EPERM"), "sched_setscheduler": (144, 119, "EPERM"), "sched_setattr": (314, 274, "EPERM"),
    "ioprio_set": (251, 30, "EPERM"), "process_madvise": (440, 440, "EPERM"), "migrate_pages": (256, 238, "EPERM"),
    "move_pages": (279, 239, "EPERM"),
}  # fmt: skip
_CHECKED = {"socket": (41, 198), "clone": (56, 220), "ioctl": (16, 29), "madvise": (28, 233), "fadvise64": (221, 223)}
_NEW_NAMESPACES = 0x0002_0000 | 0x0200_0000 | 0x7C00_0000  # CLONE_NEW*: mount, cgroup, uts to net
_TERMINAL_INPUT = (0x5412, 0x541C)  # TIOCSTI, TIOCLINUX
_COLD, _PAGEOUT, _DONTNEED = 20, 21, 4  # madvise: for pages that others may share; fadvise: for the page cache
_UNIX = 1


@functools.cache
def program(machine: str) -> bytes:
    """The filter for "x86_64" or "aarch64". OSError for another machine."""
    out = seccomp.begin(machine)
    at = seccomp.column(machine)
    answers = {numbers[at]: "EPERM" for name, numbers in WALL.items() if name not in _LEFT_OPEN}
    answers |= {(x86_64, aarch64)[at]: error for x86_64, aarch64, error in _REFUSED.values()}
    answers |= {numbers[at]: name for name, numbers in _CHECKED.items()}
    seccomp.emit_search(out, seccomp.spans(answers, "allow"))
    _emit_checks(out)
    seccomp.emit_answers(out, ("EPERM", "ENOSYS", "EAFNOSUPPORT"))
    return out.code()


def _emit_checks(out: seccomp.Assembler) -> None:
    out.label("socket")
    out.add(seccomp.LOAD, seccomp.place_of(0))
    out.add(seccomp.EQUAL, _UNIX, yes="allow", no="EAFNOSUPPORT")
    out.label("clone")
    out.add(seccomp.LOAD, seccomp.place_of(0))
    out.add(seccomp.ANY_BIT, _NEW_NAMESPACES, yes="EPERM", no="allow")
    for name, argument, values in (
        ("ioctl", 1, _TERMINAL_INPUT),
        ("madvise", 2, (_COLD, _PAGEOUT)),
        ("fadvise64", 3, (_DONTNEED,)),
    ):
        out.label(name)
        out.add(seccomp.LOAD, seccomp.place_of(argument))
        for value in values[:-1]:
            out.add(seccomp.EQUAL, value, yes="EPERM")
        out.add(seccomp.EQUAL, values[-1], yes="EPERM", no="allow")


def wall(machine: str) -> bytes:
    """The filter of the template and its monitors, which mount and fork and whose children start programs."""
    out = seccomp.begin(machine)
    at = seccomp.column(machine)
    answers = {numbers[at]: "EPERM" for name, numbers in WALL.items() if name not in _LEFT_OPEN}
    answers |= {_CHECKED["socket"][at]: "socket"}
    seccomp.emit_search(out, seccomp.spans(answers, "allow"))
    out.label("socket")
    out.add(seccomp.LOAD, seccomp.place_of(0))
    out.add(seccomp.EQUAL, _UNIX, yes="allow", no="EAFNOSUPPORT")
    seccomp.emit_answers(out, ("EPERM", "EAFNOSUPPORT"))
    return out.code()


def install() -> None:
    """Set no_new_privs and load the filter permanently into this process and all its children."""
    machine = os.uname().machine
    seccomp.load(machine, program(machine))


def install_wall() -> None:
    machine = os.uname().machine
    seccomp.load(machine, wall(machine))
