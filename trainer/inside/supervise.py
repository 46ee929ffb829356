"""First process in the sandbox of a job: it lays its files and starts it, relays its connections, kills what it leaves,
and returns its files.

A script that uses only the standard library, ``python -I -S -B supervise.py ORDER``, and imports very little, because
every experiment waits for it. ORDER is a marshal file: ``command``, ``environment``, ``folder``, ``limits`` (names of
resource.RLIMIT_* without the prefix), ``files`` (name, size, mode), ``links`` (name, target), ``wanted`` (paths to
fetch), ``wanted_bytes``, ``relays`` (paths of Unix sockets, each with a port of 127.0.0.1, whose connections are passed
on to it). Further descriptors: ``ready`` is written before the job starts, ``given`` has the contents of the files one
after the other, ``reply`` gets the reply, and ``go`` lets this process end.

The other processes cannot trace or signal this one: it is the init of its process namespace and not dumpable (prctl(2),
PR_SET_DUMPABLE; pid_namespaces(7)). It fetches results only when no other process is alive. Nothing outside trusts its
relays: an agent may use the sockets directly, where the same gateway answers.

`lay`, `states` and `fetch` serve jobs without a sandbox, too; importing this file and calling them needs no Linux.
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
    folder = order["folder"]
    with open(order["given"], "rb") as given:
        lay(folder, ((name, given.read(size), mode) for name, size, mode in order["files"]), order["links"])
    laid = states(folder, order["kept"])
    code = run(order, relays(order["relays"]) if order["relays"] else ())
    end_all()
    fetched, missing = fetch(folder, order["wanted"], order["wanted_bytes"])
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    # one line per item, with texts in hexadecimal, so that the untrusted reply is easy to parse
    lines = [f"ended {code} {used.ru_utime + used.ru_stime:.6f} {used.ru_maxrss / 1024:.3f}"]
    lines += [f"file {len(data)} {_hex(name)}" for name, data in fetched.items()]
    lines += [f"missing {_hex(text)}" for text in missing]
    lines += [f"written {_hex(name)}" for name, state in states(folder, laid).items() if state != laid[name]]
    head = "\n".join(lines).encode()
    with open(order["reply"], "wb") as pipe:
        pipe.write(len(head).to_bytes(4, "little") + head)
        pipe.writelines(fetched.values())
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
            local, _ = server.accept()
            remote = socket.socket(socket.AF_UNIX)
            try:
                remote.connect(path)
                for ends in ((local, remote), (remote, local)):
                    threading.Thread(target=pump, args=ends, daemon=True).start()
            except (OSError, RuntimeError):  # as many threads as there may be
                hang_up(local, remote)

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


def lay(folder: str, files: Iterable[tuple[str, bytes, int]], links: Iterable[tuple[str, str]] = ()) -> None:
    """Write files (name, content, mode) and symbolic links (name, target) into a folder."""
    for name, data, mode in files:
        path = _path_for(folder, name)
        with open(path, "wb") as file:
            file.write(data)
        os.chmod(path, mode)
    for name, target in links:
        os.symlink(target, _path_for(folder, name))


def _path_for(folder: str, name: str) -> str:
    path = os.path.join(folder, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    return path


def states(folder: str, names: Iterable[str]) -> dict[str, tuple[int, int] | None]:
    """Inode and change time, which a user cannot set, of files; None for one that is not there."""
    by_name: dict[str, tuple[int, int] | None] = dict.fromkeys(names)
    for name in by_name:
        try:
            status = os.lstat(os.path.join(folder, name))
            by_name[name] = status.st_ino, status.st_ctime_ns
        except OSError:
            continue
    return by_name


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


def fetch(folder: str, wanted: Iterable[str], most: int) -> tuple[dict[str, bytes], list[str]]:
    """The wanted files (of a folder, all files in it), of ``most`` bytes together, and those that could not be fetched,
    with the reason."""
    fetched: dict[str, bytes] = {}
    missing: list[str] = []
    if not wanted:
        return fetched, missing
    os.chmod(folder, 0o700)  # the command may have closed it
    root = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    for name in wanted:
        try:
            for path, data in _take(root, name.rstrip("/"), most, 0, missing):
                most -= len(data)
                fetched[path] = data
                if len(fetched) > _MOST_FILES:
                    raise ValueError(f"more than {_MOST_FILES} files")
        except (OSError, ValueError) as error:
            missing.append(f"{name}: {getattr(error, 'strerror', None) or error}")
    os.close(root)
    return fetched, missing


def _take(root: int, name: str, left: int, depth: int, missing: list[str]) -> Iterator[tuple[str, bytes]]:
    """(path, bytes) of a regular file, or of each file below a folder. No link in any part of the path is followed;
    those in a folder are ``missing``."""
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
            for inner in sorted(os.scandir(current), key=lambda entry: entry.name):
                if inner.is_symlink():
                    missing.append(f"{name}/{inner.name}: symbolic links are not taken")
                    continue
                for item in _take(root, f"{name}/{inner.name}", left, depth + 1, missing):
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
