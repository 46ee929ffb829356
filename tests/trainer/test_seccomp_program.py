"""The filters' programs, run by a small interpreter: every number of this machine, arguments at the edges."""

from __future__ import annotations

import errno
import struct
from collections.abc import Callable

import pyseccomp
import pytest

from trainer.sandbox import filters

ALLOW, KILL, DENY = 0x7FFF_0000, 0x8000_0000, 0x0005_0000 | errno.EPERM
AUDIT = pyseccomp.system_arch()
X86, I386, ARM = 0xC000_003E, 0x4000_0003, 0x4000_0028
OWN = 4321

# Written a second time, so that no call slips in or out unseen.
PLAIN = """
read write readv writev pread64 pwrite64 preadv pwritev lseek poll ppoll select pselect6 close
close_range dup dup2 dup3 eventfd2 fsync fdatasync ftruncate open openat creat truncate stat lstat fstat
newfstatat statfs fstatfs access faccessat faccessat2 readlink readlinkat getdents getdents64 getcwd chdir fchdir
mkdir mkdirat rmdir unlink unlinkat rename renameat renameat2 umask chmod fchmod fchmodat fchmodat2 utime utimes
futimesat utimensat mmap munmap mprotect mremap msync brk membarrier rseq set_robust_list gettid exit
exit_group sched_yield sched_getaffinity sched_getparam sched_getscheduler sched_get_priority_max
sched_get_priority_min getpriority getcpu rt_sigaction rt_sigprocmask rt_sigreturn rt_sigpending rt_sigtimedwait
rt_sigsuspend sigaltstack restart_syscall pause clock_gettime clock_getres clock_nanosleep nanosleep gettimeofday time
times alarm getitimer setitimer getpid getppid getpgid getpgrp getsid getuid geteuid getresuid getgid getegid
getresgid getgroups getrlimit uname getrandom
"""
REFUSED = {
    "clone3": "ENOSYS", "fallocate": "EOPNOTSUPP",
    "listxattr": "EOPNOTSUPP", "llistxattr": "EOPNOTSUPP", "flistxattr": "EOPNOTSUPP",
}  # fmt: skip


def verdict(program: bytes, number: int, arguments: tuple[int, ...] = (), audit: int = AUDIT) -> int:
    """What the kernel's interpreter of classic BPF would return for one call."""
    padded = (*arguments, *[0xDEAD_BEEF_DEAD_BEEF] * (6 - len(arguments)))
    data = struct.pack("<IIQ6Q", number, audit, 0x7F00_0000_0000, *(value % (1 << 64) for value in padded))
    lines = list(struct.iter_unpack("<HBBI", program))
    at = held = 0
    while True:
        code, yes, no, value = lines[at]
        at += 1
        match code:
            case 0x05:
                at += value
            case 0x25:
                at += yes if held > value else no
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


def number(name: str) -> int:
    return int(pyseccomp.resolve_syscall(pyseccomp.Arch.NATIVE, name))


def of(name: str, *arguments: int) -> int:
    return verdict(filters.candidate(OWN), number(name), arguments)


def test_what_is_allowed_is_what_was_agreed() -> None:
    assert set(filters.ALLOWED) == set(PLAIN.split()) and len(filters.ALLOWED) == len(PLAIN.split())
    assert filters.OTHERWISE == REFUSED


def test_every_number_gets_its_answer() -> None:
    answers = {number(name): ALLOW for name in PLAIN.split()}
    answers |= {number(name): 0x0005_0000 | getattr(errno, error) for name, error in REFUSED.items()}
    for one in (*range(700), 0x3FFF_FFFF):  # where they are checked, the arguments are nonsense
        assert verdict(filters.candidate(), one) == answers.get(one, DENY), one


@pytest.mark.parametrize("make", [filters.candidate, filters.tree, filters.wall])
def test_another_architecture_is_killed(make: Callable[[], bytes]) -> None:
    for audit in {X86, 0xC000_00B7, I386, ARM, 0} - {AUDIT}:
        assert all(verdict(make(), one, audit=audit) == KILL for one in range(500))
    if AUDIT == X86:  # x32
        assert all(verdict(make(), 0x4000_0000 | one) == KILL for one in range(600))


THREAD = 0x3D0F00  # what glibc's pthread_create asks for
HIGH = 1 << 32
NAMESPACES = (0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000)


def test_only_threads_are_cloned() -> None:
    for good in (THREAD, THREAD | 0x400000, 0x10900, THREAD | 0x1000000):
        assert of("clone", good) == ALLOW
    without = [THREAD & ~bit for bit in (0x100, 0x800, 0x10000)]  # CLONE_VM, CLONE_SIGHAND, CLONE_THREAD
    # CLONE_NEWTIME, an exit signal, PIDFD, PTRACE, VFORK, PARENT, UNTRACED
    more = [THREAD | bit for bit in (*NAMESPACES, 0x80, 17, 0x1000, 0x2000, 0x4000, 0x8000, 0x800000, 0x80000000, HIGH)]
    for bad in (0, 17, 0x4111, 0x1200011, *without, *more):
        assert of("clone", bad) == DENY, hex(bad)


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
    # HIPRI, DSYNC, SYNC, NOWAIT, APPEND, NOAPPEND, ATOMIC, DONTCACHE
    *[(name, (3, 0, 1, 0, 0, 1 << bit), False) for name in ("preadv2", "pwritev2") for bit in range(8)],
    *[(name, (3, 0, 1, 0, 0, flags), True) for name in ("preadv2", "pwritev2") for flags in (0, HIGH)],
    *[("statx", (3, 0, 0, mask), True) for mask in (0, 0x7FF, 0x800, 0xFFF)],
    # MNT_ID, DIOALIGN, MNT_ID_UNIQUE, SUBVOL, WRITE_ATOMIC, DIO_READ_ALIGN
    *[("statx", (3, 0, 0, 0x7FF | 1 << bit), False) for bit in range(12, 32)],
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


@pytest.mark.parametrize(("name", "arguments", "good"), CASES)
def test_arguments_are_checked(name: str, arguments: tuple[int, ...], good: bool) -> None:
    assert of(name, *arguments) == (ALLOW if good else DENY)


def test_a_wait_that_is_not_private_is_told_to_look_again() -> None:
    """Joining a thread waits like that, and asks again: neither refused nor allowed to wait."""
    for op in (0, 9, 0x100, 0x109, HIGH):
        assert of("futex", 0, op) == 0x0005_0000 | errno.EAGAIN


@pytest.mark.parametrize("name", ["futex", "fcntl", "ioctl", "prctl"])
def test_the_upper_half_of_an_int_counts_no_more_than_in_the_kernel(name: str) -> None:
    at = 0 if name == "prctl" else 1
    good, bad = {"ioctl": (0x5401, 0x5402), "futex": (0x83, 8)}.get(name, (3, 8))
    for value, expected in ((good, ALLOW), (bad, DENY)):
        assert of(name, *[0] * at, value | HIGH) == expected


@pytest.mark.skipif(AUDIT != X86, reason="a call of x86_64")
def test_only_the_amx_requests_of_arch_prctl() -> None:
    assert all(of("arch_prctl", code) == ALLOW for code in (0x1021, 0x1022, 0x1023))
    # SET_GS, SET_FS, CPUID off, guest's AMX, shadow stack off
    assert all(of("arch_prctl", code) == DENY for code in (0x1001, 0x1002, 0x1012, 0x1025, 0x5002, 0))


def test_the_wall_refuses_what_it_names_and_nothing_else() -> None:
    named = {number(name) for name in (*filters.BOTH, *filters.WALL, "io_uring_setup")} | {filters.PIDFD_GETFD}
    for one in range(700):
        assert verdict(filters.wall(), one) == (DENY if one in named else ALLOW), one


def test_a_tree_of_processes_lacks_what_leads_out_of_its_namespaces() -> None:
    refused = {"unshare", "mount", "umount2", "pivot_root", "setns", "keyctl", "bpf", "open_by_handle_at", "reboot"}
    assert all(verdict(filters.tree(), number(name)) == DENY for name in refused)
    assert all(verdict(filters.tree(), one) == DENY for one in (428, 429, 430, 431, 432, 433, 442))
    missing = 0x0005_0000 | errno.ENOSYS
    assert all(verdict(filters.tree(), one) == missing for one in (425, 426, 427, 435, number("shmget")))
    for family in (*range(64), -1):
        expected = ALLOW if family in (1, 2, 10, 16) else 0x0005_0000 | errno.EAFNOSUPPORT
        assert verdict(filters.tree(), number("socket"), (family, 1, 0)) == expected
    for flag in (*NAMESPACES, NAMESPACES[0] | NAMESPACES[-1] | 17):
        assert verdict(filters.tree(), number("clone"), (flag,)) == DENY
    assert (
        verdict(filters.tree(), number("clone"), (THREAD,)) == verdict(filters.tree(), number("clone"), (17,)) == ALLOW
    )
    for request, good in ((0x5412, False), (0x541C, False), (0x5401, True), (0x5412 | HIGH, False)):
        assert (verdict(filters.tree(), number("ioctl"), (0, request)) == ALLOW) == good


def test_a_tree_of_processes_is_not_told_who_else_uses_a_file() -> None:
    assert all(verdict(filters.tree(), number(name)) != ALLOW for name in ("fanotify_init", "mincore"))
    assert verdict(filters.tree(), 451) != ALLOW  # cachestat
    for flags in range(256):
        assert (verdict(filters.tree(), number("preadv2"), (3, 0, 1, 0, 0, flags)) == ALLOW) == (flags == 0)
    for name, at, refused in (("fadvise64", 3, {4}), ("madvise", 2, {20, 21}), ("fcntl", 1, {1024, 1026})):
        for value in (*range(32), 1024, 1025, 1026, 1030):
            answer = verdict(filters.tree(), number(name), (*[3] * at, value))
            assert (answer == ALLOW) == (value not in refused), (name, value)
