"""The filter's program, run by a small interpreter: both architectures, every number, arguments at the edges."""

from __future__ import annotations

import errno
import re
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from trainer.inside import seccomp
from trainer.inside.seccomp_table import CHECKS, WALL, rows

ALLOW, KILL, DENY = 0x7FFF_0000, 0x8000_0000, 0x0005_0000 | errno.EPERM
AUDIT = {"x86_64": 0xC000_003E, "aarch64": 0xC000_00B7}
I386, ARM = 0x4000_0003, 0x4000_0028
OWN = 4321
MACHINES = pytest.mark.parametrize("machine", list(AUDIT))

# Written a second time, so that no call slips in or out unseen.
PLAIN = """
read write readv writev pread64 pwrite64 preadv pwritev preadv2 pwritev2 lseek poll ppoll select pselect6 close
close_range dup dup2 dup3 eventfd2 fsync fdatasync ftruncate open openat creat truncate stat lstat fstat
newfstatat statx statfs fstatfs access faccessat faccessat2 readlink readlinkat getdents getdents64 getcwd chdir fchdir
mkdir mkdirat rmdir unlink unlinkat rename renameat renameat2 umask chmod fchmod fchmodat fchmodat2 utime utimes
futimesat utimensat mmap munmap mprotect mremap msync brk membarrier rseq set_robust_list gettid exit
exit_group sched_yield sched_getaffinity sched_getparam sched_getscheduler sched_get_priority_max
sched_get_priority_min getpriority getcpu rt_sigaction rt_sigprocmask rt_sigreturn rt_sigpending rt_sigtimedwait
rt_sigsuspend sigaltstack restart_syscall pause clock_gettime clock_getres clock_nanosleep nanosleep gettimeofday time
times alarm getitimer setitimer getpid getppid getpgid getpgrp getsid getuid geteuid getresuid getgid getegid
getresgid getgroups getrusage getrlimit uname getrandom
"""
REFUSED = {
    "clone3": "ENOSYS", "fallocate": "EOPNOTSUPP",
    "listxattr": "EOPNOTSUPP", "llistxattr": "EOPNOTSUPP", "flistxattr": "EOPNOTSUPP",
}  # fmt: skip
X86_ONLY = """
poll select dup2 open creat stat lstat access readlink getdents mkdir rmdir unlink rename chmod utime utimes
futimesat pause time alarm getpgrp arch_prctl
"""


def verdict(program: bytes, number: int, arguments: tuple[int, ...] = (), audit: int = AUDIT["x86_64"]) -> int:
    """What the kernel's interpreter of classic BPF would return for one call."""
    padded = (*arguments, *[0xDEAD_BEEF_DEAD_BEEF] * (6 - len(arguments)))
    data = struct.pack("<IIQ6Q", number, audit, 0x7F00_0000_0000, *(value % (1 << 64) for value in padded))
    lines = list(struct.iter_unpack("<HBBI", program))
    at = held = 0
    while True:
        code, yes, no, value = lines[at]
        at += 1
        match code:
            case 0x20:
                (held,) = struct.unpack_from("<I", data, value)
            case 0x54:
                held &= value
            case 0x15:
                at += yes if held == value else no
            case 0x35:
                at += yes if held >= value else no
            case 0x45:
                at += yes if held & value else no
            case 0x06:
                return value
            case _:
                raise AssertionError(f"instruction {code:#x} at {at - 1}")


def of(name: str, machine: str, *arguments: int) -> int:
    number = next(row.numbers[machine] for row in rows() if row.name == name)
    return verdict(seccomp.program(machine, OWN), number, arguments, AUDIT[machine])


def test_the_table_holds_what_was_agreed() -> None:
    answers = {row.name: row.answer for row in rows()}
    assert answers == {**dict.fromkeys(PLAIN.split(), "allow"), **REFUSED, **dict.fromkeys(CHECKS, "checked")}
    assert len(answers) == len(rows())
    assert {row.name for row in rows() if "aarch64" not in row.numbers} == set(X86_ONLY.split())
    assert all("x86_64" in row.numbers for row in rows())


@MACHINES
def test_every_number_gets_its_answer(machine: str) -> None:
    table = {row.numbers[machine]: row for row in rows() if machine in row.numbers}
    program = seccomp.program(machine)
    for number in (*range(700), 0x3FFF_FFFF):
        row = table.get(number)
        if row is None or row.answer == "checked":  # the arguments are nonsense here
            expected = DENY
        else:
            expected = ALLOW if row.answer == "allow" else 0x0005_0000 | getattr(errno, row.answer)
        assert verdict(program, number, audit=AUDIT[machine]) == expected, (number, row)


@MACHINES
def test_another_architecture_is_killed(machine: str) -> None:
    program = seccomp.program(machine)
    for audit in {*AUDIT.values(), I386, ARM, 0} - {AUDIT[machine]}:
        assert all(verdict(program, number, audit=audit) == KILL for number in range(500))


def test_x32_is_killed() -> None:
    program = seccomp.program("x86_64")
    assert all(verdict(program, 0x4000_0000 | number) == KILL for number in range(600))
    assert verdict(program, 0xFFFF_FFFF) == KILL
    assert verdict(seccomp.program("aarch64"), 0x4000_0000, audit=AUDIT["aarch64"]) == DENY


THREAD = 0x3D0F00  # what glibc's pthread_create asks for
HIGH = 1 << 32
NAMESPACES = (0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000)


@MACHINES
def test_only_threads_are_cloned(machine: str) -> None:
    for good in (THREAD, THREAD | 0x400000, 0x10900, THREAD | 0x1000000):
        assert of("clone", machine, good) == ALLOW
    without = [THREAD & ~bit for bit in (0x100, 0x800, 0x10000)]  # CLONE_VM, CLONE_SIGHAND, CLONE_THREAD
    # CLONE_NEWTIME, an exit signal, PIDFD, PTRACE, VFORK, PARENT, UNTRACED
    more = [THREAD | bit for bit in (*NAMESPACES, 0x80, 17, 0x1000, 0x2000, 0x4000, 0x8000, 0x800000, 0x80000000, HIGH)]
    for bad in (0, 17, 0x4111, 0x1200011, *without, *more):
        assert of("clone", machine, bad) == DENY, hex(bad)


CASES: list[tuple[str, tuple[int, ...], bool]] = [
    *[("futex", (0, op | flag), True) for op in (0, 1, 3, 4, 5, 9, 10) for flag in (128, 384)],
    # not private, a wait aside: what wakes or moves those that wait on a page which others have, too
    *[("futex", (0, op | flag), False) for op in (1, 3, 4, 5, 10) for flag in (0, 256)],
    *[("futex", (0, op), False) for op in (2, 6, 7, 8, 11, 12, 13, 128 | 6, 128 | 13, 512, 1 << 31)],
    *[("fcntl", (3, command), True) for command in (0, 1, 2, 3, 4, 1030)],
    # locks, owners, signals, leases, notifications, pipe size, seals, hints, locks of the open file
    *[("fcntl", (3, command), False) for command in range(5, 17)],
    *[("fcntl", (3, command), False) for command in (36, 37, 38, 1024, 1026, 1031, 1032, 1033, 1034, 1036, -1)],
    *[("ioctl", (3, command), True) for command in (0x5401, 0x802C542A, 0x5450, 0x5451, 0x5421, 0x541B)],
    # TCSETS, TIOCSTI, TIOCSCTTY, TIOCGWINSZ, FIOASYNC, TIOCSETD, TIOCLINUX, FICLONE, FS_IOC_SETFLAGS
    *[("ioctl", (3, command), False) for command in (0x5402, 0x5412, 0x540E, 0x5413, 0x5452, 0x5423, 0x541C)],
    *[("ioctl", (3, command), False) for command in (0, 0x40049409, 0x40086602, 0xFFFF_FFFF)],
    *[("fadvise64", (3, 0, 0, advice), advice < 3) for advice in range(8)],
    *[("madvise", (0, 1, advice), True) for advice in (0, 1, 2, 3, 4, 8, 14, 15)],
    # REMOVE, MERGEABLE, UNMERGEABLE, COLD, PAGEOUT, COLLAPSE, HWPOISON, SOFT_OFFLINE, GUARD_INSTALL
    *[("madvise", (0, 1, advice), False) for advice in (9, 12, 13, 20, 21, 25, 100, 101, 102, -1)],
    *[("tgkill", (process, 1, 6), process == OWN) for process in (OWN, 0, 1, OWN + 1, -1, OWN | 1 << 31)],
    *[("prlimit64", (0, kind, 0, 1), True) for kind in range(16)],
    *[("prlimit64", (process, 7, 0, 1), False) for process in (1, OWN, -1)],
    *[("prlimit64", (0, 7, limit, 1), False) for limit in (1, HIGH, 0x7FFF_0000_0000, 1 << 31)],
    *[("prctl", (option,), True) for option in (2, 3, 15, 16, 21, 30, 39, 42, 51)],
    # PDEATHSIG, DUMPABLE, KEEPCAPS, SECCOMP, CAPBSET_DROP, TIMERSLACK, MM, CHILD_SUBREAPER, NO_NEW_PRIVS, THP,
    # AMBIENT, SPECULATION, CORE_SCHED, MDWE, VMA, MERGE, PTRACER
    *[("prctl", (option,), False) for option in (1, 4, 8, 22, 24, 29, 35, 36, 38, 41, 47, 53, 62, 65, 67)],
    *[("prctl", (option,), False) for option in (0, -1, 0x53564D41, 0x59616D61)],
]


@MACHINES
@pytest.mark.parametrize(("name", "arguments", "good"), CASES)
def test_arguments_are_checked(machine: str, name: str, arguments: tuple[int, ...], good: bool) -> None:
    assert of(name, machine, *arguments) == (ALLOW if good else DENY)


@MACHINES
def test_a_wait_that_is_not_private_is_told_to_look_again(machine: str) -> None:
    """Joining a thread waits like that, and asks again: neither refused nor allowed to wait."""
    for op in (0, 9, 0x100, 0x109, HIGH):
        assert of("futex", machine, 0, op) == 0x0005_0000 | errno.EAGAIN


@pytest.mark.parametrize("name", ["futex", "fcntl", "ioctl", "prctl"])
def test_the_upper_half_of_an_int_counts_no_more_than_in_the_kernel(name: str) -> None:
    at = 0 if name == "prctl" else 1
    good, bad = {"ioctl": (0x5401, 0x5402), "futex": (0x83, 8)}.get(name, (3, 8))
    for value, expected in ((good, ALLOW), (bad, DENY)):
        assert of(name, "x86_64", *[0] * at, value | HIGH) == expected


def test_only_the_amx_requests_of_arch_prctl() -> None:
    assert all(of("arch_prctl", "x86_64", code) == ALLOW for code in (0x1021, 0x1022, 0x1023))
    # SET_GS, SET_FS, CPUID off, guest's AMX, shadow stack off
    assert all(of("arch_prctl", "x86_64", code) == DENY for code in (0x1001, 0x1002, 0x1012, 0x1025, 0x5002, 0))


@MACHINES
def test_a_program_without_a_process_signals_nobody(machine: str) -> None:
    number = next(row.numbers[machine] for row in rows() if row.name == "tgkill")
    assert verdict(seccomp.program(machine), number, (OWN,), AUDIT[machine]) == DENY


@MACHINES
def test_the_wall_refuses_what_it_names_and_nothing_else(machine: str) -> None:
    named = {numbers[list(AUDIT).index(machine)] for numbers in WALL.values()}
    program = seccomp.wall(machine)
    for number in range(700):
        assert verdict(program, number, audit=AUDIT[machine]) == (DENY if number in named else ALLOW), number
    assert verdict(program, 0, audit=I386) == KILL
    if machine == "x86_64":
        assert verdict(program, 0x4000_0000) == KILL


@pytest.mark.parametrize("make", [seccomp.program, seccomp.wall])
def test_another_machine_is_refused(make: Callable[[str], bytes]) -> None:
    with pytest.raises(OSError, match="riscv64"):
        make("riscv64")


def _numbers(header: Path) -> dict[str, int]:
    if not header.is_file():
        pytest.skip(f"no {header}: the kernel's headers are not installed")
    text = header.read_text().replace("__NR3264_fstatat", "__NR_newfstatat")  # its name on 64 bits
    found: dict[str, int] = {}
    for name, number in re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)\b", text):
        found.setdefault(name, int(number))
    return found


@pytest.mark.parametrize(
    ("machine", "header"),
    [("x86_64", "/usr/include/x86_64-linux-gnu/asm/unistd_64.h"), ("aarch64", "/usr/include/asm-generic/unistd.h")],
)
def test_numbers_are_those_of_the_kernel(machine: str, header: str) -> None:
    theirs = _numbers(Path(header))
    newer = {"fchmodat2": 452, "futex_wake": 454, "futex_wait": 455, "futex_requeue": 456}  # than some systems' headers
    theirs = newer | theirs
    at = list(AUDIT).index(machine)
    ours = {row.name: row.numbers[machine] for row in rows() if machine in row.numbers}
    ours |= {name: numbers[at] for name, numbers in WALL.items() if numbers[at] is not None}
    assert {name: theirs.get(name) for name in ours} == ours
    assert seccomp._MACHINES[machine].seccomp == theirs["seccomp"]
