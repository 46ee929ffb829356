"""A script that changes to a uid that owns nothing and starts a program: ``python -I -S -B lowered.py DESCRIPTOR``.

Every sandbox waits for it, so it imports little. DESCRIPTOR refers to marshal data: ``uid`` (None: no change),
``reach`` (paths that the program will open), ``command`` and ``keep`` (descriptors to inherit; the others are closed).
The program's environment is empty.

Root's files are often in folders that only root may enter: an interpreter in /root/.pyenv, a study in /root. The new
uid could not bind them into a sandbox. Each such folder is therefore replaced, in a private mount namespace, by an
empty folder with only the needed paths; the permissions of the files stay the same. If the process is not root, or all
paths are accessible, nothing is mounted.
"""

from __future__ import annotations

import ctypes
import marshal
import os
import stat
import sys

_NEWNS = 0x00020000  # sched.h
_NOSUID_NODEV = 2 | 4  # sys/mount.h
_BIND, _RECURSIVE, _SLAVE = 4096, 1 << 14, 1 << 19


def main(descriptor: int) -> None:
    with open(descriptor, "rb") as file:
        request = marshal.loads(file.read())
    if request["uid"] is not None:
        _open_way([os.path.realpath(path) for path in request["reach"]])
        _become(request["uid"])
    _die_first()
    _close_all_but({0, 1, 2, *request["keep"]})
    os.chdir("/")
    os.execve(request["command"][0], request["command"], {})


def closed_folder(path: str) -> str | None:
    """The topmost folder above an absolute path that exists and that other users may not enter; None without one."""
    parts = path.split("/")[1:-1]
    for depth in range(len(parts)):
        folder = "/" + "/".join(parts[: depth + 1])
        if not os.path.exists(folder):
            break
        if not os.stat(folder).st_mode & stat.S_IXOTH:
            return folder
    return None


def _become(uid: int) -> None:
    try:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
    except OSError as error:
        raise OSError(error.errno, error.strerror, f"user id {uid}") from None


def _open_way(paths: list[str]) -> None:
    """Make the paths accessible to all users in this process's own mount namespace."""
    wanted = [path for path in sorted(set(paths)) if closed_folder(path)]
    if not wanted:
        return
    libc = ctypes.CDLL(None, use_errno=True)
    _check(libc.unshare(_NEWNS), "a mount namespace of its own")
    _mount(libc, "none", "/", "", _RECURSIVE | _SLAVE)
    handles = {path: os.open(path, os.O_PATH) for path in wanted}  # before they are covered
    for path, handle in handles.items():
        while folder := closed_folder(path):  # a path bound before may hold closed folders
            _mount(libc, "none", folder, "tmpfs", _NOSUID_NODEV, "mode=755,size=1m")
        if _is_there(path, handle):
            continue  # inside one that is bound already
        _make_target(path, folder=stat.S_ISDIR(os.fstat(handle).st_mode))
        _mount(libc, f"/proc/self/fd/{handle}", path, "", _BIND | _RECURSIVE)


def _is_there(path: str, handle: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(handle))
    except FileNotFoundError:
        return False


def _make_target(path: str, folder: bool) -> None:
    os.makedirs(path if folder else os.path.dirname(path), mode=0o755, exist_ok=True)
    if not folder:
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o644))


def _mount(libc: ctypes.CDLL, source: str, target: str, kind: str, flags: int, data: str = "") -> None:
    words = [word.encode("utf-8", "surrogateescape") or None for word in (source, target, kind)]
    _check(libc.mount(*words, flags, data.encode() or None), target)


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)


def _die_first() -> None:
    """Processes with untrusted code are the first to be killed when memory runs out."""
    try:
        with open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
            file.write("1000")
    except OSError:
        pass  # no such file, or no permission: keep the default priority


def _close_all_but(kept: set[int]) -> None:
    for name in os.listdir("/proc/self/fd"):
        if int(name) not in kept:
            try:
                os.close(int(name))
            except OSError:
                continue  # the descriptor of the listing itself


if __name__ == "__main__":
    os.umask(0o022)
    try:
        main(int(sys.argv[1]))
    except OSError as error:
        sys.exit(f"lowered: {error.strerror}: {error.filename or ''}")
