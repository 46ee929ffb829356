"""The policy of the filter: the system calls that a candidate may make, and with which arguments.

`TABLE` has one row per call: its name, its number on x86_64, on aarch64 ("-": none), and the answer:

- empty: allowed with any arguments. No such call starts a program or process, opens a socket, affects another process,
  or changes the kernel's state or the user id; mounts and limits restrict its effects on files.
- the name of an error: refused with that error, with which a library or Python uses another call. EPERM would stop it.
- "checked": allowed if its arguments pass all `CHECKS`.

Two experiments that run at the same time must not signal each other. Calls that change a counter or queue shared by all
processes are therefore refused: futexes on shared pages (e.g. of a library's file), pipes (their inode numbers count
those of the whole machine) and `sysinfo` (threads and free memory of the machine).

All other calls are refused with EPERM. Numbers: asm/unistd_64.h and asm-generic/unistd.h of Linux.
"""

from __future__ import annotations

from dataclasses import dataclass

TABLE = """
# name                   x86_64 aarch64

# reading and writing what is open
read                          0      63
write                         1      64
readv                        19      65
writev                       20      66
pread64                      17      67
pwrite64                     18      68
preadv                      295      69
pwritev                     296      70
preadv2                     327     286
pwritev2                    328     287
lseek                         8      62
poll                          7       -
ppoll                       271      73
select                       23       -
pselect6                    270      72
close                         3      57
close_range                 436     436
dup                          32      23
dup2                         33       -
dup3                        292      24
eventfd2                    290      19
fcntl                        72      25 checked
ioctl                        16      29 checked
fadvise64                   221     223 checked
fsync                        74      82
fdatasync                    75      83
ftruncate                    77      46
fallocate                   285      47 EOPNOTSUPP

# files and folders
open                          2       -
openat                      257      56
creat                        85       -
truncate                     76      45
stat                          4       -
lstat                         6       -
fstat                         5      80
newfstatat                  262      79
statx                       332     291
statfs                      137      43
fstatfs                     138      44
access                       21       -
faccessat                   269      48
faccessat2                  439     439
readlink                     89       -
readlinkat                  267      78
getdents                     78       -
getdents64                  217      61
getcwd                       79      17
chdir                        80      49
fchdir                       81      50
mkdir                        83       -
mkdirat                     258      34
rmdir                        84       -
unlink                       87       -
unlinkat                    263      35
rename                       82       -
renameat                    264      38
renameat2                   316     276
umask                        95     166
chmod                        90       -
fchmod                       91      52
fchmodat                    268      53
fchmodat2                   452     452
utime                       132       -
utimes                      235       -
futimesat                   261       -
utimensat                   280      88
listxattr                   194      11 EOPNOTSUPP
llistxattr                  195      12 EOPNOTSUPP
flistxattr                  196      13 EOPNOTSUPP

# memory
mmap                          9     222
munmap                       11     215
mprotect                     10     226
mremap                       25     216
madvise                      28     233 checked
msync                        26     227
brk                          12     214

# threads of this process
clone                        56     220 checked
clone3                      435     435 ENOSYS
futex                       202      98 checked
membarrier                  324     283
rseq                        334     293
set_robust_list             273      99
gettid                      186     178
exit                         60      93
exit_group                  231      94
sched_yield                  24     124
sched_getaffinity           204     123
sched_getparam              143     121
sched_getscheduler          145     120
sched_get_priority_max      146     125
sched_get_priority_min      147     126
getpriority                 140     141
getcpu                      309     168

# signals to oneself
rt_sigaction                 13     134
rt_sigprocmask               14     135
rt_sigreturn                 15     139
rt_sigpending               127     136
rt_sigtimedwait             128     137
rt_sigsuspend               130     133
sigaltstack                 131     132
restart_syscall             219     128
pause                        34       -
tgkill                      234     131 checked

# clocks
clock_gettime               228     113
clock_getres                229     114
clock_nanosleep             230     115
nanosleep                    35     101
gettimeofday                 96     169
time                        201       -
times                       100     153
alarm                        37       -
getitimer                    36     102
setitimer                    38     103

# who and where we are
getpid                       39     172
getppid                     110     173
getpgid                     121     155
getpgrp                     111       -
getsid                      124     156
getuid                      102     174
geteuid                     107     175
getresuid                   118     148
getgid                      104     176
getegid                     108     177
getresgid                   120     150
getgroups                   115     158
getrusage                    98     165
getrlimit                    97     163
prlimit64                   302     261 checked
prctl                       157     167 checked
arch_prctl                  158       - checked
uname                        63     160
getrandom                   318     278
"""


@dataclass(frozen=True)
class SystemCall:
    """A call, its number by machine, and its ``answer``: "allow", "checked" or the name of an error."""

    name: str
    numbers: dict[str, int]
    answer: str


def rows() -> list[SystemCall]:
    """`TABLE` in order."""
    calls = []
    for line in TABLE.splitlines():
        if line and not line.startswith("#"):
            name, x86_64, aarch64, *answer = line.split()
            given = {"x86_64": x86_64, "aarch64": aarch64}
            numbers = {machine: int(number) for machine, number in given.items() if number != "-"}
            calls.append(SystemCall(name, numbers, answer[0] if answer else "allow"))
    return calls


# Arguments are counted from 0. For an int argument the kernel ignores the register's upper half, and so do we.
@dataclass(frozen=True)
class OneOf:
    """The lower 32 bits of an argument, without those in ``ignoring``, must be one of ``values``."""

    argument: int
    values: tuple[int, ...]
    ignoring: int = 0


@dataclass(frozen=True)
class Refuse:
    """The call fails with ``error`` if an argument's lower 32 bits, without ``ignoring``, are one of ``values``."""

    argument: int
    values: tuple[int, ...]
    ignoring: int
    error: str


@dataclass(frozen=True)
class Flags:
    """All bits of ``required`` must be set in a 64-bit argument, and none outside ``required | optional``."""

    argument: int
    required: int
    optional: int


@dataclass(frozen=True)
class OwnProcess:
    """The argument must be the id of the process that installs the filter."""

    argument: int


Check = OneOf | Refuse | Flags | OwnProcess

CHECKS: dict[str, tuple[Check, ...]] = {
    # A thread: CLONE_VM, SIGHAND, THREAD; it may share FS, FILES, SYSVSEM, and have SETTLS, PARENT_SETTID,
    # CHILD_CLEARTID, DETACHED (ignored, set by musl), CHILD_SETTID. No namespace, VFORK, PARENT, PTRACE or exit signal.
    "clone": (Flags(0, required=0x10900, optional=0x017C0600),),
    # WAIT, WAKE, WAIT_BITSET, WAKE_BITSET, REQUEUE, CMP_REQUEUE, WAKE_OP; PRIVATE, with or without CLOCK_REALTIME. A
    # futex that is not PRIVATE belongs to its page, and all sandboxes share the pages of a library's file. The kernel
    # also wakes such a futex when a thread ends (CHILD_CLEARTID, robust lists), which cannot be refused. Waiting on one
    # is therefore refused: EAGAIN, "the value has changed", makes pthread_join poll until the thread has ended. The
    # priority-inheriting ones are not allowed, because they are a source of kernel bugs and nothing here uses them.
    "futex": (
        Refuse(1, (0, 9), ignoring=0x100, error="EAGAIN"),
        OneOf(1, (0x80, 0x81, 0x89, 0x8A, 0x83, 0x84, 0x85), ignoring=0x100),
    ),
    # DUPFD, GETFD, SETFD, GETFL, SETFL, DUPFD_CLOEXEC. No locks, leases, seals, owners, pipe sizes.
    "fcntl": (OneOf(1, (0, 1, 2, 3, 4, 1030)),),
    # TCGETS and TCGETS2 (isatty, which every open() of a text file calls), FIOCLEX, FIONCLEX, FIONBIO, FIONREAD
    "ioctl": (OneOf(1, (0x5401, 0x802C542A, 0x5451, 0x5450, 0x5421, 0x541B)),),
    # NORMAL, RANDOM, SEQUENTIAL. Not DONTNEED, which would empty a page cache that others share.
    "fadvise64": (OneOf(3, (0, 1, 2)),),
    # NORMAL, RANDOM, SEQUENTIAL, WILLNEED, DONTNEED, FREE, HUGEPAGE, NOHUGEPAGE, which allocators use. Not COLD and
    # PAGEOUT, which remove a file of our user from the shared page cache. Not MERGEABLE, which makes a kernel thread
    # work for this process without being charged.
    "madvise": (OneOf(2, (0, 1, 2, 3, 4, 8, 14, 15)),),
    # abort() and raise() signal a thread of their own process
    "tgkill": (OwnProcess(0),),
    # For this process (0) and without a new limit: read only
    "prlimit64": (OneOf(0, (0,)), Flags(2, required=0, optional=0)),
    # SET_NAME, and GET: NAME, PDEATHSIG, DUMPABLE, SECCOMP, TIMERSLACK, NO_NEW_PRIVS, THP_DISABLE, SVE vector length
    "prctl": (OneOf(0, (15, 16, 2, 3, 21, 30, 39, 42, 51)),),
    # ARCH_GET_XCOMP_SUPP, GET_XCOMP_PERM, REQ_XCOMP_PERM: oneDNN requests the AMX registers at first use
    "arch_prctl": (OneOf(0, (0x1021, 0x1022, 0x1023)),),
}

# Also refused to the template and its monitors (numbers on x86_64 and aarch64), which mount and fork but need none of
# these calls: a candidate that escaped its own filter would use them. AF_VSOCK reaches the hypervisor from an empty
# network namespace, and the session's keyring belongs to the user who started the study.
WALL: dict[str, tuple[int, int]] = {
    "socket": (41, 198), "socketpair": (53, 199), "execve": (59, 221), "execveat": (322, 281), "setns": (308, 268),
    "keyctl": (250, 219), "add_key": (248, 217), "request_key": (249, 218), "ptrace": (101, 117),
    "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "pidfd_getfd": (438, 438), "kcmp": (312, 272),
    "bpf": (321, 280), "perf_event_open": (298, 241), "io_uring_setup": (425, 425), "userfaultfd": (323, 282),
    "open_by_handle_at": (304, 265), "fanotify_init": (300, 262), "kexec_load": (246, 104),
    "kexec_file_load": (320, 294), "init_module": (175, 105), "finit_module": (313, 273), "delete_module": (176, 106),
    "quotactl": (179, 60), "swapon": (167, 224), "reboot": (169, 142), "acct": (163, 89), "syslog": (103, 116),
    "personality": (135, 92), "clock_settime": (227, 112), "settimeofday": (164, 170),
}  # fmt: skip
