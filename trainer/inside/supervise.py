"""First process in the sandbox of a job: it lays its files and starts it, relays its connections, kills what it leaves,
and returns its files.

A script that uses only the standard library, ``python -I -S -B supervise.py ORDER``, and imports very little, because
every experiment waits for it. ORDER is a marshal file: ``command``, ``environment``, ``folder``, ``limits`` (names of
resource.RLIMIT_* without the prefix), ``files`` (name, size, mode), ``links`` (name, target), ``wanted`` (paths to
fetch), ``wanted_bytes``, ``relays`` (paths of Unix sockets, each with a port of 127.0.0.1, whose connections are passed
on to it), ``compiled`` (a folder, the descriptors of the packed files that it starts with and of those that it ends
with, or None, and their size at most). Further descriptors: ``ready`` is written before the job starts, ``given`` has
the contents of the files one after the other, ``reply`` gets the reply, and ``go`` lets this process end.

The other processes cannot trace or signal this one: it is the init of its process namespace and not dumpable (prctl(2),
PR_SET_DUMPABLE; pid_namespaces(7)). It fetches results only when no other process is alive. Nothing outside trusts its
relays: an agent may use the sockets directly, where the same gateway answers.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found] # signal creates enums, which takes longer than everything else here
import ctypes
import marshal
import os
import resource
import stat
import sys

TYPE_CHECKING = False  # as a type checker sees it, without the import
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from threading import Thread
    from typing import Any

_NOT_FOUND, _NOT_STARTED = 127, 126  # the same exit codes as a shell
_SET_DUMPABLE = 4
_MOST_FILES, _DEEPEST = 10_000, 32


def main(path: str) -> None:
    with open(path, "rb") as file:
        order = marshal.loads(file.read())
    _signal.signal(_signal.SIGINT, _signal.SIG_IGN)  # the only one that Python handles, so that a command could send it
    if ctypes.CDLL(None).prctl(_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        sys.exit("this process can be traced")
    laid = lay(order)
    folder, packed, target, most = order["compiled"]
    if packed is not None:
        unpack(packed, folder)
    code = run(order, relays(order["relays"]) if order["relays"] else ())
    end_all()
    if target is not None:  # only for a trusted source
        pack(folder, target, most)
    fetched, missing = fetch(order)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    # one line per item, with texts in hexadecimal, so that the untrusted reply is easy to parse
    lines = [f"ended {code} {used.ru_utime + used.ru_stime:.6f} {used.ru_maxrss / 1024:.3f}"]
    lines += [f"file {len(data)} {_hex(name)}" for name, data in fetched]
    lines += [f"missing {_hex(text)}" for text in missing]
    lines += [f"written {_hex(name)}" for name in written(order, laid)]
    head = "\n".join(lines).encode()
    with open(order["reply"], "wb") as pipe:
        pipe.write(len(head).to_bytes(4, "little") + head)
        for _, data in fetched:
            pipe.write(data)
    os.read(order["go"], 1)  # wait, so that the CPU time of this process can be read from outside
    os._exit(0)  # threads of relays may still run


def run(order: dict[str, Any], threads: Iterable[Thread]) -> int:
    """Start the command, and ``threads`` beside it; its exit code, negative for a signal."""
    os.write(order["ready"], b"1")
    os.close(order["ready"])
    child = os.fork()
    if child == 0:
        become(order)
    for thread in threads:
        thread.start()
    return wait_for(child)


def relays(ports: dict[str, int]) -> list[Thread]:
    """A thread for each port, which passes connections on to the socket at a path; the ports are open already."""
    import socket
    import threading

    def serve(server: socket.socket, path: str) -> None:
        while True:
            here, _ = server.accept()
            there = socket.socket(socket.AF_UNIX)
            try:
                there.connect(path)
                for ends in ((here, there), (there, here)):
                    threading.Thread(target=pump, args=ends, daemon=True).start()
            except (OSError, RuntimeError):  # as many threads as there may be
                hang_up(here, there)

    def pump(source: socket.socket, target: socket.socket) -> None:
        """Copy one direction until its end, and close the other side's input."""
        try:
            while data := source.recv(1 << 16):
                target.sendall(data)
            target.shutdown(1)
        except OSError:
            hang_up(source, target)

    def hang_up(*ends: socket.socket) -> None:
        for end in ends:
            try:
                end.shutdown(2)
            except OSError:
                continue  # it has hung up itself

    servers = [(socket.create_server(("127.0.0.1", port), backlog=128), path) for path, port in ports.items()]
    return [threading.Thread(target=serve, args=each, daemon=True) for each in servers]


def pack(folder: str, target: int, limit: int) -> None:
    """Write the regular files below a folder to a descriptor as a tar archive; nothing if it exceeds the limit."""
    import tarfile

    with open(target, "wb", closefd=False) as file, tarfile.open(fileobj=file, mode="w") as archive:
        archive.add(folder, ".", filter=lambda one: one if one.isreg() or one.isdir() else None)
    if os.fstat(target).st_size > limit:
        os.ftruncate(target, 0)


def unpack(source: int, folder: str) -> None:
    """Extract an archive below a folder; others may read the same descriptor, so its position stays as it is."""
    import mmap
    import tarfile

    with mmap.mmap(source, 0, access=mmap.ACCESS_READ) as file, tarfile.open(fileobj=file) as archive:
        archive.extractall(folder, filter="data")


def lay(order: dict[str, Any]) -> dict[str, tuple[int, int]]:
    """Write the files into the empty in-memory folder; returns inode and change time of the read-only ones."""
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
    """The read-only files that the command changed, replaced or deleted; a user cannot set a file's change time."""
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
    """Execute the command, after restoring the signals that are ignored here."""
    os.setsid()
    for name in os.listdir("/proc/self/fd"):
        if int(name) > 2:
            try:
                os.close(int(name))
            except OSError:
                continue  # the descriptor of the listing itself
    for name, limit in order["limits"].items():
        resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (limit, limit))
    for number in (_signal.SIGINT, _signal.SIGPIPE, _signal.SIGXFSZ):
        _signal.signal(number, _signal.SIG_DFL)
    os.chdir(order["folder"])
    try:
        os.execvpe(order["command"][0], order["command"], order["environment"])
    except OSError as error:
        print(f"{order['command'][0]}: {error.strerror}", file=sys.stderr, flush=True)
        os._exit(_NOT_FOUND if isinstance(error, FileNotFoundError) else _NOT_STARTED)


def wait_for(child: int) -> int:
    """Reap processes until the command ends; returns its exit code, negative for a signal."""
    while True:
        pid, status = os.wait()
        if pid == child:
            return os.waitstatus_to_exitcode(status)


def end_all() -> None:
    """Kill all processes that the command left, so that none runs while results are fetched or CPU is measured."""
    while True:
        try:  # noqa: SIM105 -- contextlib takes a third of our start
            os.kill(-1, _signal.SIGKILL)
        except ProcessLookupError:
            pass  # no other process is left
        try:
            os.wait()
        except ChildProcessError:
            return


def fetch(order: dict[str, Any]) -> tuple[list[tuple[str, bytes]], list[str]]:
    """The wanted files (of a folder, all files in it), and those that could not be fetched, with the reason."""
    fetched: list[tuple[str, bytes]] = []
    missing: list[str] = []
    left = order["wanted_bytes"]
    if not order["wanted"]:
        return fetched, missing
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
    """(path, bytes) of a regular file, or of each file below a folder. No link in any part of the path is followed."""
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
            raise ValueError("is not a file")
        if form.st_size > left:
            raise ValueError(f"is too large, {form.st_size} bytes")
        with open(os.dup(current), "rb") as file:
            yield name, file.read(left)
    finally:
        if current != root:
            os.close(current)


if __name__ == "__main__":
    main(sys.argv[1])
