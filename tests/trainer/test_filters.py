"""The filters of system calls: their programs, run by a small interpreter for every number of this machine and
arguments at the edges; and a filter in real processes, in which ordinary Python and torch work."""

from __future__ import annotations

import errno
import json
import signal
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyseccomp
import pytest

from trainer.sandbox import filters

ALLOW, KILL, DENY = 0x7FFF_0000, 0x8000_0000, 0x0005_0000 | errno.EPERM
AUDIT = pyseccomp.system_arch()
X86, I386, ARM = 0xC000_003E, 0x4000_0003, 0x4000_0028
OWN = 4321

# The agreed list, written a second time, so that no call slips in or out unseen.
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


def test_candidate_number_gets_its_answer() -> None:
    answers = {number(name): ALLOW for name in PLAIN.split()}
    answers |= {number(name): 0x0005_0000 | getattr(errno, error) for name, error in REFUSED.items()}
    for one in (*range(700), 0x3FFF_FFFF):  # where they are checked, the arguments are nonsense
        assert verdict(filters.candidate(), one) == answers.get(one, DENY), one


@pytest.mark.parametrize("make", [filters.candidate, filters.tree, filters.wall])
def test_call_of_another_architecture_kills(make: Callable[[], bytes]) -> None:
    for audit in {X86, 0xC000_00B7, I386, ARM, 0} - {AUDIT}:
        assert all(verdict(make(), one, audit=audit) == KILL for one in range(500))
    if AUDIT == X86:  # x32
        assert all(verdict(make(), 0x4000_0000 | one) == KILL for one in range(600))


THREAD = 0x3D0F00  # what glibc's pthread_create asks for
HIGH = 1 << 32
NAMESPACES = (0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000)


def test_clone_of_anything_but_a_thread_is_refused() -> None:
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
def test_call_with_argument_is_answered_by_the_table(name: str, arguments: tuple[int, ...], good: bool) -> None:
    assert of(name, *arguments) == (ALLOW if good else DENY)


def test_futex_wait_that_is_not_private_is_again() -> None:
    """Joining a thread waits like that, and asks again: neither refused nor allowed to wait."""
    for op in (0, 9, 0x100, 0x109, HIGH):
        assert of("futex", 0, op) == 0x0005_0000 | errno.EAGAIN


@pytest.mark.parametrize("name", ["futex", "fcntl", "ioctl", "prctl"])
def test_upper_half_of_an_int_argument_is_ignored(name: str) -> None:
    at = 0 if name == "prctl" else 1
    good, bad = {"ioctl": (0x5401, 0x5402), "futex": (0x83, 8)}.get(name, (3, 8))
    for value, expected in ((good, ALLOW), (bad, DENY)):
        assert of(name, *[0] * at, value | HIGH) == expected


@pytest.mark.skipif(AUDIT != X86, reason="a call of x86_64")
def test_arch_prctl_other_than_amx_is_refused() -> None:
    assert all(of("arch_prctl", code) == ALLOW for code in (0x1021, 0x1022, 0x1023))
    # SET_GS, SET_FS, CPUID off, guest's AMX, shadow stack off
    assert all(of("arch_prctl", code) == DENY for code in (0x1001, 0x1002, 0x1012, 0x1025, 0x5002, 0))


def test_wall_number_is_refused_if_it_is_named() -> None:
    named = {number(name) for name in (*filters.BOTH, *filters.WALL, "io_uring_setup")} | {filters.PIDFD_GETFD}
    for one in range(700):
        assert verdict(filters.wall(), one) == (DENY if one in named else ALLOW), one


def test_tree_call_out_of_its_namespaces_is_refused() -> None:
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


def test_tree_call_about_others_files_is_refused() -> None:
    assert all(verdict(filters.tree(), number(name)) != ALLOW for name in ("fanotify_init", "mincore"))
    assert verdict(filters.tree(), 451) != ALLOW  # cachestat
    for flags in range(256):
        assert (verdict(filters.tree(), number("preadv2"), (3, 0, 1, 0, 0, flags)) == ALLOW) == (flags == 0)
    for name, at, refused in (("fadvise64", 3, {4}), ("madvise", 2, {20, 21}), ("fcntl", 1, {1024, 1026})):
        for value in (*range(32), 1024, 1025, 1026, 1030):
            answer = verdict(filters.tree(), number(name), (*[3] * at, value))
            assert (answer == ALLOW) == (value not in refused), (name, value)


# --- in real processes ----------------------------------------------------------------------------------------------


_IMPORTS = "from trainer.inside import seccomp\nfrom trainer.sandbox import filters\n"
_START = f"{_IMPORTS}seccomp.load(filters.candidate(os.getpid()))\n"
# attempt(what): 0 if it works, the number of the error if not
_ATTEMPT = """
import ctypes, errno, fcntl, json, os, pwd, resource, shutil, signal, socket, subprocess, sys, tempfile, threading, time
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
def raw(*arguments):
    if libc.syscall(*(ctypes.c_long(value) for value in (*arguments, 0, 0, 0, 0, 0, 0)[:7])) < 0:
        raise OSError(ctypes.get_errno(), "")
def attempt(what):
    try:
        what()
    except OSError as error:
        return errno.errorcode[error.errno]
    return "done"
"""


def confined(code: str, folder: Path, *, before: str = "", timeout: float = 250.0) -> subprocess.CompletedProcess[str]:
    """Run ``before``, load the filter, then run ``code``, in a fresh interpreter in ``folder``."""
    command = [sys.executable, "-W", "error", "-P", "-c", _ATTEMPT + before + "\n" + _START + code]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=timeout, check=False)


def answers(attempts: dict[str, str], folder: Path, before: str = "") -> dict[str, str]:
    """How each attempt, an expression, ended under the filter: "done" or the name of its error."""
    table = ", ".join(f"{name!r}: attempt(lambda: {code})" for name, code in attempts.items())
    done = confined(f"print(json.dumps({{{table}}}))", folder, before=before)
    assert done.returncode == 0, done.stderr
    found: dict[str, str] = json.loads(done.stdout)
    return found


WORKING = {
    "folders": "(os.mkdir('d'), os.rename('d', 'e'), os.rmdir('e'), os.listdir('.'), os.getcwd(), os.chdir('.'))",
    "files": "(os.chmod('file', 0o600), os.utime('file'), os.truncate('file', 3), os.stat('file'))",
    "access": "(os.access('file', os.R_OK), os.access('file', os.R_OK, effective_ids=True), os.umask(0o77))",
    "durable": "os.fsync(os.open('file', os.O_RDWR))",
    "copies": "(shutil.copy2('file', 'copy'), shutil.copytree('.', 'tree'), shutil.rmtree('tree'))",
    "space left": "os.statvfs('.')",
    "descriptors": "(os.dup2(os.dup(0), 0), os.eventfd(0), os.closerange(50, 60))",
    "blocking": "os.set_blocking(os.eventfd(0), False)",
    "inheritable": "os.set_inheritable(os.dup(0), True)",
    "flags": "fcntl.fcntl(0, fcntl.F_SETFL, fcntl.fcntl(0, fcntl.F_GETFL))",
    "reading ahead": "os.posix_fadvise(os.open('file', os.O_RDONLY), 0, 0, os.POSIX_FADV_SEQUENTIAL)",
    "terminal": "(sys.stdout.isatty(), open('file').close(), shutil.get_terminal_size())",
    "temporary file": "tempfile.TemporaryFile().close()",
    "temporary folder": "tempfile.TemporaryDirectory().cleanup()",
    "users": "(os.getuid(), os.getgroups(), os.getresuid(), pwd.getpwuid(os.getuid()), os.path.expanduser('~'))",
    "limits": "(resource.getrlimit(resource.RLIMIT_AS), os.times())",
    "scheduler": "(os.sched_getaffinity(0), os.cpu_count(), os.sched_yield(), os.getpriority(0, 0))",
    "timers": "(signal.setitimer(signal.ITIMER_REAL, 9), signal.alarm(0), time.sleep(0.001), time.process_time())",
    "thread": "(lambda thread: (thread.start(), thread.join()))(threading.Thread(target=time.sleep, args=(0.001,)))",
    "raise": "(signal.signal(signal.SIGUSR1, signal.SIG_IGN), signal.raise_signal(signal.SIGUSR1))",
    "name": "libc.prctl(15, b'candidate', 0, 0, 0)",
    "random": "(os.urandom(8), os.getrandom(8), __import__('uuid').uuid4())",
    "lazy import": "(__import__('xml.dom.minidom'), __import__('asyncio'), __import__('multiprocessing.connection'))",
    "reserving space": "os.posix_fallocate(os.open('file', os.O_RDWR), 0, 100)",
}  # fmt: skip


def test_python_under_the_filter_works(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("some text")
    assert answers(WORKING, tmp_path) == dict.fromkeys(WORKING, "done")


def test_thread_of_c_is_joined(tmp_path: Path) -> None:
    """pthread_join waits for a futex that is not private; told to look again, it ends when the thread has ended."""
    code = """
thread, found = ctypes.c_ulong(), ctypes.c_void_p()
assert libc.pthread_create(ctypes.byref(thread), None, libc.usleep, ctypes.c_void_p(20_000)) == 0
print(libc.pthread_join(thread, ctypes.byref(found)), found.value)
"""
    assert confined(code, tmp_path).stdout == "0 None\n"  # usleep's own result, which is there once it has slept


def test_filter_holds_for_every_thread_and_stays(tmp_path: Path) -> None:
    """For those that ran before it was loaded, and those that start later; it cannot be taken off or loaded again."""
    before = "go, seen = threading.Event(), []\n"
    before += "old = threading.Thread(target=lambda: (go.wait(), seen.append(attempt(socket.socketpair))))\n"
    code = """
later = threading.Thread(target=lambda: seen.append(attempt(os.fork)))
later.start(); go.set(); old.join(); later.join()
print(*seen, attempt(lambda: seccomp.load(filters.wall())), open('/proc/thread-self/status').read())
"""
    ended = confined(code, tmp_path, before=before + "old.start()")
    assert ended.stdout.startswith("EPERM EPERM EPERM "), ended.stderr
    assert "NoNewPrivs:\t1" in ended.stdout and "Seccomp:\t2" in ended.stdout


def test_end_under_the_filter_has_its_exit_code(tmp_path: Path) -> None:
    assert confined("os.abort()", tmp_path).returncode == -signal.SIGABRT
    crash = confined("1 / 0", tmp_path)
    assert crash.returncode == 1 and "ZeroDivisionError" in crash.stderr
    assert confined("os._exit(9)", tmp_path).returncode == 9
    fault = confined("import faulthandler; faulthandler.enable(); ctypes.string_at(0)", tmp_path)
    assert fault.returncode == -signal.SIGSEGV and "Segmentation fault" in fault.stderr


@pytest.mark.skipif(AUDIT != X86, reason="x86_64 only")
def test_call_by_int_0x80_kills(tmp_path: Path) -> None:
    code = """
import mmap
page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
page.write(bytes.fromhex("b814000000cd80c3"))  # mov eax, 20 (getpid of i386); int 0x80; ret
print("before", flush=True)
ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))()
print("after")
"""
    done = confined(code, tmp_path)
    # SIGSEGV from a kernel without 32-bit emulation
    assert done.returncode in (-signal.SIGSYS, -signal.SIGSEGV) and done.stdout == "before\n", done.stderr


_TORCH = """
import io, time
import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

torch.set_num_threads(2)
big = torch.randn(1200, 1200)
(big @ big).exp().sum()
assert len(os.listdir("/proc/self/task")) >= 2, "OpenMP started no second thread"

attend = nn.TransformerEncoderLayer(64, 2, dim_feedforward=32, batch_first=True)
net = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.GELU(), nn.Flatten(2), attend)
net.extend([nn.Flatten(), nn.LayerNorm(4 * 64), nn.Linear(4 * 64, 5)])
for optimizer in (
    torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9),
    torch.optim.AdamW(net.parameters()),
    torch.optim.AdamW(net.parameters(), fused=True),
):
    for _ in range(3):
        loss = F.cross_entropy(net(torch.randn(32, 1, 8, 8)), torch.randint(5, (32,)))
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
torch.linalg.svd(big[:100, :100])
torch.fft.fft(big)
with torch.autocast("cpu", dtype=torch.bfloat16):
    net(torch.randn(32, 1, 8, 8))
torch.save(net.state_dict(), "net.pt")
torch.save(net.state_dict(), "old.pt", _use_new_zipfile_serialization=False)
for options in ({"f": "net.pt"}, {"f": "net.pt", "mmap": True}, {"f": "old.pt"}, {"f": open("net.pt", "rb")}):
    net.load_state_dict(torch.load(**options, weights_only=True))
np.save("big.npy", np.arange(2_200_000.0))  # 17 MB: NumPy reserves the space of large files
assert np.load("big.npy", mmap_mode="r")[7] == np.load(open("big.npy", "rb"))[7] == 7
np.savez("two.npz", a=np.ones(3))
np.load("two.npz")["a"]
torch.from_file("raw.bin", shared=True, size=100).fill_(1)
for rows in torch.utils.data.DataLoader(range(10), batch_size=5, shuffle=True):
    pass
print("trained", bool(torch.isfinite(loss)))
os._exit(0)
"""


@pytest.mark.slow
def test_torch_under_the_filter_works(tmp_path: Path) -> None:
    done = confined(_TORCH.replace("os._exit", "sys.stdout.flush(); os._exit"), tmp_path)
    assert (done.returncode, done.stdout) == (0, "trained True\n"), done.stderr
