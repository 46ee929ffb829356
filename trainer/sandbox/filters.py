"""The filters of system calls, as programs that the kernel runs before each call of a process and its threads.

`libseccomp <https://github.com/seccomp/libseccomp>`_ knows the calls' numbers and writes the programs. Calls of another
architecture (int 0x80 and x32 on x86_64) kill the process. There are three filters:

- `candidate`: a list of what an untrusted train.py may call; everything else fails with EPERM. No call of the list
  starts a program or process, opens a socket, affects another process, or changes the kernel's state or the user id.
  Two experiments that run at the same time must not signal each other, so calls that change a counter or queue of the
  whole machine are refused, too: futexes on shared pages (of a library's file), pipes (their inode numbers) and
  `sysinfo`. One that runs later must not read what an earlier one left in the page cache: `getrusage` counts the pages
  that came from the disk, and RWF_NOWAIT reads those alone that did not have to.
- `tree`: for an agent, a command or a data.py, whose processes need most calls, a list of what is refused: what leads
  out of its namespaces, and most of what shows it others that use the same files.
- `wall`: for the template and its monitors, which mount and fork: what a candidate that escaped its filter would use.
"""

from __future__ import annotations

import errno
import os
from functools import cache
from typing import Any

from programs.common.errors import NoSandbox
from programs.common.text import word_list

ALLOWED = word_list("""
read write readv writev pread64 pwrite64 preadv pwritev lseek poll ppoll select pselect6 close
close_range dup dup2 dup3 eventfd2 fsync fdatasync ftruncate
open openat creat truncate stat lstat fstat newfstatat statfs fstatfs access faccessat faccessat2 readlink
readlinkat getdents getdents64 getcwd chdir fchdir mkdir mkdirat rmdir unlink unlinkat rename renameat renameat2 umask
chmod fchmod fchmodat fchmodat2 utime utimes futimesat utimensat
mmap munmap mprotect mremap msync brk
membarrier rseq set_robust_list gettid exit exit_group sched_yield sched_getaffinity sched_getparam sched_getscheduler
sched_get_priority_max sched_get_priority_min getpriority getcpu
rt_sigaction rt_sigprocmask rt_sigreturn rt_sigpending rt_sigtimedwait rt_sigsuspend sigaltstack restart_syscall pause
clock_gettime clock_getres clock_nanosleep nanosleep gettimeofday time times alarm getitimer setitimer
getpid getppid getpgid getpgrp getsid getuid geteuid getresuid getgid getegid getresgid getgroups getrlimit
uname getrandom
""")
#: Refused to a candidate with an error after which libraries use another call.
OTHERWISE = {"clone3": "ENOSYS", **dict.fromkeys(("fallocate", "listxattr", "llistxattr", "flistxattr"), "EOPNOTSUPP")}
#: Allowed with one of these values of an argument (counted from 0), of its lower 32 bits and without some bits.
ONE_OF = {
    # no flags: RWF_NOWAIT tells whether a page is in the cache
    "preadv2": (5, (0,), 0),
    "pwritev2": (5, (0,), 0),
    # the basic fields and the time of birth. Not MNT_ID_UNIQUE, a counter of all mounts of the machine.
    "statx": (3, (0,), 0xFFF),
    # DUPFD, GETFD, SETFD, GETFL, SETFL, DUPFD_CLOEXEC. No locks, leases, seals, owners, pipe sizes.
    "fcntl": (1, (0, 1, 2, 3, 4, 1030), 0),
    # TCGETS and TCGETS2 (isatty, which every open() of a text file calls), FIOCLEX, FIONCLEX, FIONBIO, FIONREAD
    "ioctl": (1, (0x5401, 0x802C542A, 0x5451, 0x5450, 0x5421, 0x541B), 0),
    # NORMAL, RANDOM, SEQUENTIAL. Not DONTNEED, which would empty a page cache that others share.
    "fadvise64": (3, (0, 1, 2), 0),
    # NORMAL, RANDOM, SEQUENTIAL, WILLNEED, DONTNEED, FREE, HUGEPAGE, NOHUGEPAGE, which allocators use. Not COLD and
    # PAGEOUT, which remove a file of our user from the shared page cache. Not MERGEABLE, which makes a kernel thread
    # work for this process without being charged.
    "madvise": (2, (0, 1, 2, 3, 4, 8, 14, 15), 0),
    # SET_NAME, and GET: NAME, PDEATHSIG, DUMPABLE, SECCOMP, TIMERSLACK, NO_NEW_PRIVS, THP_DISABLE, SVE vector length
    "prctl": (0, (15, 16, 2, 3, 21, 30, 39, 42, 51), 0),
    # ARCH_GET_XCOMP_SUPP, GET_XCOMP_PERM, REQ_XCOMP_PERM: oneDNN requests the AMX registers at first use
    "arch_prctl": (0, (0x1021, 0x1022, 0x1023), 0),
    # WAIT, WAKE, WAIT_BITSET, WAKE_BITSET, REQUEUE, CMP_REQUEUE, WAKE_OP; PRIVATE, with or without CLOCK_REALTIME. A
    # futex that is not PRIVATE belongs to its page, and all sandboxes share the pages of a library's file. The
    # priority-inheriting ones are not allowed, because they are a source of kernel bugs and nothing here uses them.
    "futex": (1, (0x80, 0x81, 0x89, 0x8A, 0x83, 0x84, 0x85), 0x100),
}
# The kernel also wakes a futex of a shared page when a thread ends (CHILD_CLEARTID, robust lists), which cannot be
# refused. Waiting on one is: EAGAIN, "the value has changed", makes pthread_join poll until the thread has ended.
SHARED_WAITS = (0, 9)
# A thread: CLONE_VM, SIGHAND, THREAD; it may share FS, FILES, SYSVSEM, and have SETTLS, PARENT_SETTID, CHILD_CLEARTID,
# DETACHED (ignored, set by musl), CHILD_SETTID. No namespace, VFORK, PARENT, PTRACE or exit signal.
THREAD, THREAD_MAY = 0x10900, 0x017C0600

# AF_VSOCK reaches the hypervisor from an empty network namespace, io_uring opens sockets without the filter, and the
# session's key ring belongs to the user who started the study. Numbers of calls that older libraries do not know.
BOTH = word_list("""
setns add_key request_key keyctl bpf perf_event_open userfaultfd open_by_handle_at init_module finit_module
delete_module kexec_load kexec_file_load reboot swapon quotactl acct syslog
""")
IO_URING = (425, 426, 427)
WALL = word_list("""
socket socketpair execve execveat ptrace process_vm_readv process_vm_writev kcmp fanotify_init personality
clock_settime settimeofday
""")
PIDFD_GETFD = 438
TREE = word_list("unshare mount umount2 pivot_root swapoff fanotify_init")  # inotify stays: opencode waits for it
MOUNTS = (428, 429, 430, 431, 432, 433, 442)  # open_tree, move_mount, fsopen, fsconfig, fsmount, fspick, mount_setattr
TREE_OTHERWISE = (435, "shmget")  # clone3: its flags are in memory, which a filter cannot read; such memory stays
FAMILIES = (1, 2, 10, 16)  # AF_UNIX, AF_INET, AF_INET6, AF_NETLINK
NEW_NAMESPACES = (0x2_0000, 0x200_0000, 0x400_0000, 0x800_0000, 0x1000_0000, 0x2000_0000, 0x4000_0000)  # CLONE_NEW*
#: What is refused to a tree of processes with these values of an argument, and the error, one that libraries expect.
TREE_NOT = {
    "ioctl": (1, (0x5412, 0x541C), "EPERM"),  # TIOCSTI and TIOCLINUX type into the terminal
    # what tells or changes which pages of a file are in the cache, which all processes of the machine share
    "fadvise64": (3, (4,), "EINVAL"),  # DONTNEED
    "madvise": (2, (20, 21), "EINVAL"),  # COLD, PAGEOUT
    "fcntl": (1, (1024, 1026), "EINVAL"),  # a lease or a notification tells of others that open a file
}
CACHED = ("mincore", 451)  # and cachestat: whether a page is in the cache
_INT = 0xFFFF_FFFF  # of an int argument the kernel ignores the register's upper half, and so do the filters


@cache
def candidate(process: int = 1) -> bytes:
    """``process``: the id of the process that loads it, which may signal itself."""
    lib = _library()
    rules: list[tuple[Any, ...]] = [(lib.ALLOW, name) for name in ALLOWED]
    rules += [(_error(lib, error), name) for name, error in OTHERWISE.items()]
    for name, (argument, values, ignoring) in ONE_OF.items():
        rules += [(lib.ALLOW, name, lib.Arg(argument, lib.MASKED_EQ, _INT & ~ignoring, value)) for value in values]
    waits = [lib.Arg(1, lib.MASKED_EQ, _INT & ~0x100, value) for value in SHARED_WAITS]
    rules += [(_error(lib, "EAGAIN"), "futex", value) for value in waits]
    rules += [(lib.ALLOW, "clone", lib.Arg(0, lib.MASKED_EQ, ~THREAD_MAY & (1 << 64) - 1, THREAD))]
    rules += [(lib.ALLOW, "tgkill", lib.Arg(0, lib.MASKED_EQ, _INT, process))]  # abort() and raise()
    # for this process (0) and without a new limit: read only
    rules += [(lib.ALLOW, "prlimit64", lib.Arg(0, lib.MASKED_EQ, _INT, 0), lib.Arg(2, lib.EQ, 0))]
    return _program(_error(lib, "EPERM"), rules)


@cache
def tree() -> bytes:
    lib = _library()
    rules: list[tuple[Any, ...]] = [(_error(lib, "EPERM"), call) for call in (*BOTH, *TREE, *MOUNTS)]
    rules += [(_error(lib, "ENOSYS"), call) for call in (*IO_URING, *TREE_OTHERWISE, *CACHED)]
    families = [lib.Arg(0, lib.GT, max(FAMILIES))]
    families += [lib.Arg(0, lib.EQ, family) for family in range(max(FAMILIES)) if family not in FAMILIES]
    rules += [(_error(lib, "EAFNOSUPPORT"), "socket", family) for family in families]
    rules += [(_error(lib, "EPERM"), "clone", lib.Arg(0, lib.MASKED_EQ, family, family)) for family in NEW_NAMESPACES]
    rules += [(_error(lib, "EOPNOTSUPP"), "preadv2", lib.Arg(5, lib.NE, 0))]  # RWF_NOWAIT reads cached pages alone
    for name, (argument, values, error) in TREE_NOT.items():
        rules += [(_error(lib, error), name, lib.Arg(argument, lib.MASKED_EQ, _INT, family)) for family in values]
    return _program(lib.ALLOW, rules)


@cache
def wall() -> bytes:
    lib = _library()
    return _program(lib.ALLOW, [(_error(lib, "EPERM"), call) for call in (*BOTH, *WALL, IO_URING[0], PIDFD_GETFD)])


def _library() -> Any:
    """Raises NoSandbox where it is missing."""
    try:
        import pyseccomp
    except RuntimeError:
        raise NoSandbox("no sandbox: libseccomp is not installed", hint="apt install libseccomp2") from None
    return pyseccomp


def _error(lib: Any, name: str) -> int:
    return int(lib.ERRNO(getattr(errno, name)))


def _program(otherwise: int, rules: list[tuple[Any, ...]]) -> bytes:
    """struct sock_filter[], as the kernel and bwrap take it."""
    lib = _library()
    program = lib.SyscallFilter(otherwise)
    program.set_attr(lib.Attr.ACT_BADARCH, lib.KILL_PROCESS)
    program.set_attr(lib.Attr.CTL_OPTIMIZE, 2)  # a search in a tree
    for action, call, *arguments in rules:
        program.add_rule(action, call, *arguments)
    with os.fdopen(os.memfd_create("filter"), "r+b") as file:
        program.export_bpf(file)
        file.seek(0)
        return file.read()
