"""The namespaces of one experiment, created by its monitor without privileges on the host.

The outer sandbox (`trainer.sandbox.outer`) has prepared everything that an experiment may see under ``INNER``. Here a
process enters new namespaces and makes that folder its root. Method: user_namespaces(7), pivot_root(2).
"""

from __future__ import annotations

import ctypes
import os

# All our own paths are in one folder, because bound paths may be anywhere, e.g. a virtual environment below /tmp.
INNER = "/metaloop/inner"  # the future root, in the outer sandbox
WORK = "/metaloop/work"  # the only writable folder, in the new root
DATA = "/metaloop/data"  # the training split, in the new root

DEVICES = ("null", "zero", "urandom")  # the content of /dev in a sandbox without a GPU

_NEWNS, _NEWCGROUP, _NEWUTS, _NEWIPC = 0x00020000, 0x02000000, 0x04000000, 0x08000000
_NEWUSER, _NEWPID, _NEWNET = 0x10000000, 0x20000000, 0x40000000
_RDONLY, _NOSUID, _NODEV, _NOEXEC, _REMOUNT, _BIND, _REC, _PRIVATE = 1, 2, 4, 8, 32, 4096, 16384, 1 << 18
_DETACH = 2
_SYS_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
_PR_SET_DUMPABLE, _PR_CAPBSET_DROP = 4, 24
_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL = 47, 4
_CAPABILITY_VERSION_3 = 0x20080522
_LAST_CAPABILITY = 63

_libc = ctypes.CDLL(None, use_errno=True)


def check(result: int, what: str) -> None:
    """Raise OSError if a function of the C library has not returned 0."""
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def _mount(source: str, target: str, kind: str, flags: int, options: str = "") -> None:
    done = _libc.mount(source.encode(), target.encode(), kind.encode() or None, ctypes.c_ulong(flags), options.encode())
    check(done, f"mount {target}")


def _write(path: str, text: str) -> None:
    with open(path, "w") as file:
        file.write(text)


def _enter(others: int) -> None:
    """Move this process into new user and mount namespaces, and ``others``, with the same ids."""
    uid, gid = os.getuid(), os.getgid()
    check(_libc.unshare(_NEWUSER | _NEWNS | others), "unshare")
    _write("/proc/self/setgroups", "deny")
    _write("/proc/self/uid_map", f"{uid} {uid} 1")
    _write("/proc/self/gid_map", f"{gid} {gid} 1")
    _mount("none", "/", "", _REC | _PRIVATE)


def _make_read_only(path: str) -> None:
    kept = os.statvfs(path).f_flag & (_NOSUID | _NODEV | _NOEXEC)
    _mount("none", path, "", _REMOUNT | _BIND | _RDONLY | kept)


def seal() -> None:
    """Make the future root read-only for this process and its forks, for good. Before it has threads."""
    _enter(0)
    _make_read_only(INNER)
    _drop_capabilities()


def isolate(megabytes: int, *, training: bool = True) -> None:
    """Move this process into a new root; its next child is process 1 there. OSError if the kernel refuses.

    ``megabytes``: size of the only writable folder, `WORK`. Programs in it cannot be executed. `DATA` has content only
    for ``training``: otherwise a source could continue training while scored.
    """
    _enter(_NEWPID | _NEWNET | _NEWIPC | _NEWUTS | _NEWCGROUP)
    _write("/proc/sys/user/max_user_namespaces", "0")
    _write("/proc/self/oom_score_adj", "1000")  # when memory runs out, the kernel kills the experiment first
    _mount(INNER, INNER, "", _BIND | _REC)
    options = f"size={megabytes}m,nr_inodes=4096,mode=0700,uid={os.getuid()},gid={os.getgid()}"
    _mount("tmpfs", INNER + WORK, "tmpfs", _NOSUID | _NODEV | _NOEXEC, options)
    for name in DEVICES:  # so that a sandbox cannot signal others by their times; writing data still works
        _make_read_only(f"{INNER}/dev/{name}")
    if not training:
        _mount("tmpfs", INNER + DATA, "tmpfs", _RDONLY | _NOSUID | _NODEV | _NOEXEC, "size=4k,nr_inodes=1,mode=0755")
    os.chdir(INNER)
    check(_libc.syscall(_SYS_PIVOT_ROOT[os.uname().machine], b".", b"."), "pivot_root")
    check(_libc.umount2(b".", _DETACH), "umount")
    os.chdir(WORK)


def renounce() -> None:
    """Drop all capabilities permanently; `seccomp.load` also takes the ability to gain any by executing a program."""
    for capability in range(_LAST_CAPABILITY + 1):
        if _libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0) != 0:
            break  # beyond the kernel's last capability
    _libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    _drop_capabilities()
    _libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def _drop_capabilities() -> None:
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    check(_libc.capset(header, (ctypes.c_uint32 * 6)()), "capset")
