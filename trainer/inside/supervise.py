"""First process of the sandbox of a command: lays out its files, starts it, ends what it left, hands out its results.

A script of the standard library alone, ``python -I -S -B supervise.py ORDER``, which imports next to nothing: every
experiment waits for it. ORDER is a file of marshal, written by whoever starts us: ``command``,
``environment``, ``folder``, ``limits`` (names of resource.RLIMIT_* without the prefix), ``files`` (name, size, mode),
the descriptor ``given`` that holds them one after the other, ``links`` (name, where it leads), ``wanted`` (paths to be
fetched), ``wanted_bytes``, and the descriptors ``ready`` (told when the command is about to start), ``reply``, ``go``.

Nothing that the command starts can trace or signal this process: it is the init of its process namespace, and not
dumpable (prctl(2), PR_SET_DUMPABLE; pid_namespaces(7)). It fetches results only when nothing else lives.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found] # signal makes enums first, which takes longer than all the rest
import ctypes
import marshal
import os
import resource
import stat
import sys

TYPE_CHECKING = False  # as a type checker sees it, without the import
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

_NOT_FOUND, _NOT_STARTED = 127, 126  # as a shell says it
_SET_DUMPABLE = 4
_MOST_FILES, _DEEPEST = 10_000, 32


def main(path: str) -> None:
    with open(path, "rb") as file:
        order = marshal.loads(file.read())
    if ctypes.CDLL(None).prctl(_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        sys.exit("this process can be traced")
    laid = lay(order)
    os.write(order["ready"], b"1")
    os.close(order["ready"])
    child = os.fork()
    if child == 0:
        become(order)
    code = wait_for(child)
    end_all()
    fetched, missing = fetch(order)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    # one line a fact, texts in hexadecimal: whoever reads it trusts nothing that comes from here
    lines = [f"ended {code} {used.ru_utime + used.ru_stime:.6f} {used.ru_maxrss / 1024:.3f}"]
    lines += [f"file {len(data)} {_hex(name)}" for name, data in fetched]
    lines += [f"missing {_hex(text)}" for text in missing]
    lines += [f"written {_hex(name)}" for name in written(order, laid)]
    head = "\n".join(lines).encode()
    with open(order["reply"], "wb") as pipe:
        pipe.write(len(head).to_bytes(4, "little") + head)
        for _, data in fetched:
            pipe.write(data)
    os.read(order["go"], 1)  # until then our own count can be read from outside


def lay(order: dict[str, Any]) -> dict[str, tuple[int, int]]:
    """Write the files into the folder, which is empty and in memory. Inode and time of change of those to be kept."""
    with open(order["given"], "rb") as given:
        for name, size, mode in order["files"]:
            path = os.path.join(order["folder"], name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "wb") as file:
                file.write(given.read(size))
            os.chmod(path, mode)
    for name, target in order["links"]:
        path = os.path.join(order["folder"], name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        os.symlink(target, path)
    return {name: state for name in order["kept"] if (state := _state(order, name)) is not None}


def written(order: dict[str, Any], laid: dict[str, tuple[int, int]]) -> list[str]:
    """The files to be kept that the command wrote into, replaced or deleted; no user can set the time of a change."""
    return [name for name, before in laid.items() if _state(order, name) != before]


def _state(order: dict[str, Any], name: str) -> tuple[int, int] | None:
    try:
        form = os.lstat(os.path.join(order["folder"], name))
    except OSError:
        return None
    return form.st_ino, form.st_ctime_ns


def _hex(text: str) -> str:
    return text.encode("utf-8", "surrogateescape").hex()


def become(order: dict[str, Any]) -> None:
    """Turn into the command. Python ignores two signals, which a program does not expect."""
    os.setsid()
    for name in os.listdir("/proc/self/fd"):
        if int(name) > 2:
            try:
                os.close(int(name))
            except OSError:
                continue  # the descriptor of the listing itself
    for name, limit in order["limits"].items():
        resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (limit, limit))
    for number in (_signal.SIGPIPE, _signal.SIGXFSZ):
        _signal.signal(number, _signal.SIG_DFL)
    os.chdir(order["folder"])
    try:
        os.execvpe(order["command"][0], order["command"], order["environment"])
    except OSError as error:
        print(f"{order['command'][0]}: {error.strerror}", file=sys.stderr, flush=True)
        os._exit(_NOT_FOUND if isinstance(error, FileNotFoundError) else _NOT_STARTED)


def wait_for(child: int) -> int:
    """Wait for all that ends meanwhile; the command's own exit code, negative for a signal."""
    while True:
        pid, status = os.wait()
        if pid == child:
            return os.waitstatus_to_exitcode(status)


def end_all() -> None:
    """Nothing that the command left behind goes on: not beside the fetching, not past the count."""
    while True:
        try:  # noqa: SIM105 -- contextlib takes a third of our start
            os.kill(-1, _signal.SIGKILL)
        except ProcessLookupError:
            pass  # there is nobody but us
        try:
            os.wait()
        except ChildProcessError:
            return


def fetch(order: dict[str, Any]) -> tuple[list[tuple[str, bytes]], list[str]]:
    """The wanted files, a folder with all in it, and what could not be taken, with the reason."""
    fetched: list[tuple[str, bytes]] = []
    missing: list[str] = []
    left = order["wanted_bytes"]
    os.chmod(order["folder"], 0o700)  # the command may have closed it
    root = os.open(order["folder"], os.O_RDONLY | os.O_DIRECTORY)
    for name in order["wanted"]:
        try:
            for path, data in _take(root, name.rstrip("/"), left, 0):
                left -= len(data)
                fetched.append((path, data))
                if len(fetched) > _MOST_FILES:
                    raise ValueError(f"more than {_MOST_FILES} files")
        except (OSError, ValueError) as error:
            missing.append(f"{name}: {getattr(error, 'strerror', None) or error}")
    return fetched, missing


def _take(root: int, name: str, left: int, depth: int) -> Iterator[tuple[str, bytes]]:
    """(path, bytes) of a regular file, or of each below a folder. Links are never followed, on no part of the way."""
    current, descriptor = root, -1
    try:
        for part in name.split("/"):
            descriptor = os.open(part, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=current)
            if current != root:
                os.close(current)
            current = descriptor
        form = os.fstat(current)
        if stat.S_ISDIR(form.st_mode):
            if depth > _DEEPEST:
                raise ValueError("nested too deeply")
            for one in sorted(os.listdir(current)):
                for item in _take(root, f"{name}/{one}", left, depth + 1):
                    left -= len(item[1])
                    yield item
            return
        if not stat.S_ISREG(form.st_mode):
            raise ValueError("is no file")
        if form.st_size > left:
            raise ValueError(f"is too large, {form.st_size} bytes")
        with open(os.dup(current), "rb") as file:
            yield name, file.read(left)
    finally:
        if current != root:
            os.close(current)


if __name__ == "__main__":
    main(sys.argv[1])
