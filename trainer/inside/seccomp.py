"""The seccomp filter of a process that runs an untrusted train.py: an allow-list that cannot be removed once loaded.

The kernel runs the filter before each system call of the process and its threads. Calls of another architecture (int
0x80 on x86_64) and of x32 kill the process, because their numbers mean other calls. Calls that `seccomp_table` allows
pass; all others fail with EPERM. The filter searches in at most 8 comparisons; since Linux 5.11 the kernel caches which
calls always pass and skips the filter for them.

Sources: Documentation/userspace-api/seccomp_filter.rst of Linux; McCanne and Jacobson, The BSD Packet Filter (1993).
"""

from __future__ import annotations

import ctypes
import errno
import functools
import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass

from trainer.inside.seccomp_table import CHECKS, WALL, Check, Flags, OneOf, OwnProcess, Refuse, rows


@dataclass(frozen=True)
class _Machine:
    audit: int  # AUDIT_ARCH_*, as the kernel passes it to the filter
    seccomp: int  # number of the seccomp call


_MACHINES = {"x86_64": _Machine(0xC000003E, 317), "aarch64": _Machine(0xC00000B7, 277)}
_X32 = 0x4000_0000  # set in the numbers of the x32 calls, which run as x86_64

# linux/seccomp.h
_SET_MODE_FILTER, _GET_ACTION_AVAIL = 1, 2
_ALLOW, _ERRNO, _KILL_PROCESS = 0x7FFF_0000, 0x0005_0000, 0x8000_0000
# TSYNC: apply to all threads or none. SPEC_ALLOW: up to Linux 5.15 a filter otherwise disables speculative loads, which
# slows training and protects only this process.
_TSYNC, _SPEC_ALLOW = 1, 4
_NUMBER, _AUDIT, _ARGUMENTS = 0, 4, 16  # offsets in struct seccomp_data
_PR_SET_NO_NEW_PRIVS = 38

# linux/bpf_common.h
LOAD, _AND, _RETURN = 0x20, 0x54, 0x06
EQUAL, _AT_LEAST, ANY_BIT = 0x15, 0x35, 0x45

_libc = ctypes.CDLL(None, use_errno=True)
_libc.prctl.argtypes = (ctypes.c_int, *[ctypes.c_ulong] * 4)
_libc.syscall.argtypes = (ctypes.c_long, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_void_p)
_libc.syscall.restype = ctypes.c_long


class Assembler:
    """Assembles classic BPF, with forward jumps to named labels. An empty label is the next instruction."""

    def __init__(self) -> None:
        self.lines: list[tuple[int, int, str, str]] = []
        self.labels: dict[str, int] = {}
        self.own_process: list[int] = []  # lines that compare with the id of the process

    def add(self, code: int, value: int, yes: str = "", no: str = "") -> None:
        self.lines.append((code, value, yes, no))

    def label(self, name: str) -> None:
        self.labels[name] = len(self.lines)

    def code(self) -> bytes:
        """struct sock_filter[]: u16 code, u8 jump if true, u8 jump if false, u32 value."""
        packed = b""
        for at, (code, value, *targets) in enumerate(self.lines):
            yes, no = (self.labels[name] - at - 1 if name else 0 for name in targets)
            packed += struct.pack("<HBBI", code, yes, no, value)  # an error for a jump backwards or beyond 255
        return packed


def place_of(index: int, upper: bool = False) -> int:
    """Offset of one half of an argument in struct seccomp_data; both machines are little endian."""
    return _ARGUMENTS + 8 * index + 4 * upper


def _emit_check(out: Assembler, check: Check) -> None:
    """Continue with the next instruction if the check passes, otherwise jump to "deny" or to the check's error."""
    out.add(LOAD, place_of(check.argument))
    match check:
        case Refuse(values=values, ignoring=ignoring, error=error):
            out.add(_AND, ~ignoring & 0xFFFF_FFFF)
            for value in values:
                out.add(EQUAL, value, yes=error)
        case OneOf(values=values, ignoring=ignoring):
            if ignoring:
                out.add(_AND, ~ignoring & 0xFFFF_FFFF)
            passed = f"after {len(out.lines)}"
            for value in values[:-1]:
                out.add(EQUAL, value, yes=passed)
            out.add(EQUAL, values[-1], no="deny")
            out.label(passed)
        case Flags(argument=argument, required=required, optional=optional):
            out.add(ANY_BIT, ~(required | optional) & 0xFFFF_FFFF, yes="deny")
            out.add(_AND, required)
            out.add(EQUAL, required, no="deny")
            out.add(LOAD, place_of(argument, upper=True))
            out.add(EQUAL, 0, no="deny")
        case OwnProcess():
            out.own_process.append(len(out.lines))
            out.add(EQUAL, 0, no="deny")


def spans(answers: dict[int, str], otherwise: str) -> list[tuple[int, str]]:
    """Ranges of numbers with the same answer, as (first number, label), ascending from 0; default ``otherwise``."""
    runs = [(0, answers.get(0, otherwise))]
    for number in sorted({*answers, *(number + 1 for number in answers)} - {0}):
        if (label := answers.get(number, otherwise)) != runs[-1][1]:
            runs.append((number, label))
    return runs


def emit_search(out: Assembler, spans: Sequence[tuple[int, str]]) -> None:
    """Emit a binary search for the call's number in two or more spans."""
    middle = len(spans) // 2
    halves = spans[:middle], spans[middle:]
    lower, upper = (half[0][1] if len(half) == 1 else f"from {half[0][0]} to {half[-1][0]}" for half in halves)
    out.add(_AT_LEAST, spans[middle][0], yes=upper, no=lower)
    for name, half in ((lower, halves[0]), (upper, halves[1])):
        if len(half) > 1:
            out.label(name)
            emit_search(out, half)


def begin(machine: str) -> Assembler:
    """Start a program: kill for calls of another architecture, otherwise load the call's number."""
    if machine not in _MACHINES:
        raise OSError(errno.ENOSYS, f"no seccomp filter for machine {machine}")
    out = Assembler()
    out.add(LOAD, _AUDIT)
    out.add(EQUAL, _MACHINES[machine].audit, no="kill")
    out.add(LOAD, _NUMBER)
    if machine == "x86_64":
        out.add(_AT_LEAST, _X32, yes="kill")
    return out


@functools.cache
def _assembled(machine: str) -> tuple[bytes, tuple[int, ...]]:
    """The program for process id 0, and the offsets of the id in it."""
    out = begin(machine)
    known = [row for row in rows() if machine in row.numbers]
    labels = {row.name: row.name if row.answer == "checked" else row.answer for row in known}
    emit_search(out, spans({row.numbers[machine]: labels[row.name] for row in known}, "deny"))
    for row in known:
        if row.answer == "checked":
            out.label(row.name)
            for check in CHECKS[row.name]:
                _emit_check(out, check)
            out.add(_RETURN, _ALLOW)
    named = set(labels.values()) - set(CHECKS) - {"allow"}
    named |= {check.error for checks in CHECKS.values() for check in checks if isinstance(check, Refuse)}
    refusals = {name: _ERRNO | getattr(errno, name) for name in named}
    answers = {"allow": _ALLOW, "deny": _ERRNO | errno.EPERM, "kill": _KILL_PROCESS, **refusals}
    for name, answer in sorted(answers.items()):
        out.label(name)
        out.add(_RETURN, answer)
    return out.code(), tuple(8 * line + 4 for line in out.own_process)


def program(machine: str, process: int = 0) -> bytes:
    """The filter for "x86_64" or "aarch64", for the process with that id (which may signal itself).

    It is assembled once per machine type and cached, also across fork. Raises OSError for another machine type.
    """
    code, offsets = _assembled(machine)
    filled = bytearray(code)
    for offset in offsets:
        struct.pack_into("<I", filled, offset, process)
    return bytes(filled)


def wall(machine: str) -> bytes:
    """The filter of the template and its monitors: it allows all calls except those in `seccomp_table.WALL`."""
    out = begin(machine)
    at = column(machine)
    emit_search(out, spans({numbers[at]: "EPERM" for numbers in WALL.values()}, "allow"))
    emit_answers(out, ("EPERM",))
    return out.code()


def column(machine: str) -> int:
    """The column of this machine in tables of call numbers: x86_64, then aarch64."""
    return list(_MACHINES).index(machine)


def emit_answers(out: Assembler, errors: Sequence[str]) -> None:
    """Emit the targets of all jumps: the labels "allow", "kill" and the names of errors."""
    answers = {"allow": _ALLOW, "kill": _KILL_PROCESS} | {name: _ERRNO | int(getattr(errno, name)) for name in errors}
    for name, answer in answers.items():
        out.label(name)
        out.add(_RETURN, answer)


class _Program(ctypes.Structure):
    """struct sock_fprog"""

    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_char_p)]


def available() -> bool:
    """Whether `install` works here: the machine type is known and the kernel has seccomp. Assembles the program."""
    try:
        machine = os.uname().machine
        program(machine)
    except OSError:
        return False
    action = ctypes.c_uint32(_KILL_PROCESS)
    return bool(_libc.syscall(_MACHINES[machine].seccomp, _GET_ACTION_AVAIL, 0, ctypes.addressof(action)) == 0)


def install() -> None:
    """Set no_new_privs and load the filter permanently into this process and all its future threads.

    Set limits, session and capabilities before, because the filter forbids that. Call it in the final process, while it
    has one thread: the filter allows signals only to this process's id. Raises OSError if it cannot be loaded.
    """
    machine = os.uname().machine
    load(machine, program(machine, os.getpid()))


def install_wall() -> None:
    """Load `wall` into a process that still has to mount and fork, after it has imported everything it needs."""
    machine = os.uname().machine
    load(machine, wall(machine))


def load(machine: str, code: bytes) -> None:
    loaded = _Program(len(code) // 8, code)
    if _libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "no_new_privs is refused")
    flags = _TSYNC | _SPEC_ALLOW
    result = _libc.syscall(_MACHINES[machine].seccomp, _SET_MODE_FILTER, flags, ctypes.addressof(loaded))
    if result > 0:  # the id of a thread with its own filters
        raise OSError(errno.EBUSY, f"the seccomp filter cannot be applied to thread {result}")
    if result < 0:
        raise OSError(ctypes.get_errno(), "the seccomp filter is refused")
